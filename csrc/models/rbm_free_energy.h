#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace torch_ebm::detail {

/// Free energies (N,) of an RBM, with a closed-form gradient, or nothing where tensor operations must compute them.
/// Of arguments that were checked.
std::optional<at::Tensor> closed_free_energy(const at::Tensor& visible, const at::Tensor& weight,
                                             const at::Tensor& visible_bias,
                                             const at::Tensor& hidden_bias);

}  // namespace torch_ebm::detail
