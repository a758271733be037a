#pragma once

#include "torch_ebm/learning/negative_phase.h"

namespace torch_ebm::detail {

/// (n_chains, shape...), if all of it is at least 1.
std::vector<int64_t> chains_shape(const char* name, int64_t n_chains, std::vector<int64_t> shape);

/// The batch of data, detached, if there is one.
at::Tensor checked_positive(const char* name, const at::Tensor& positive);

}  // namespace torch_ebm::detail
