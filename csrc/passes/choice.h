#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::passes {

/// `chosen` (N, ...) in the chains of `mask` (N,), `other` elsewhere. Moving `chosen` in saves copying it: if nothing
/// else holds it, only the chains that are not chosen are written.
at::Tensor where_chains(const at::Tensor& mask, at::Tensor chosen, const at::Tensor& other);

}  // namespace torch_ebm::passes
