#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::passes {

/// log_weights[i] += sum_j softplus(beta a) - softplus(beta_previous a), a = field[i, j] + bias[j]; beta >=
/// beta_previous >= 0. Accurate relative to the difference itself, however close the two temperatures. field: (N, M),
/// contiguous; log_weights: (N,), float64.
void add_softplus_difference_(at::Tensor& log_weights, const at::Tensor& field,
                              const at::Tensor& bias, double beta_previous, double beta);

}  // namespace torch_ebm::passes
