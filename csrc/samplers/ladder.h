#pragma once

#include "torch_ebm/samplers/ladder.h"

namespace torch_ebm::detail {

/// A ladder as a contiguous float64 tensor on the CPU, (R,), R >= 2: strictly decreasing, finite, not negative.
at::Tensor checked_ladder(const char* op, const at::Tensor& betas);

/// Rejects run options that tempering over a ladder does not allow: a temperature besides the
/// ladder's.
void check_no_beta(const char* op, const RunOptions& run);

}  // namespace torch_ebm::detail
