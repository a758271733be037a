#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// log Z of the Gaussian energy E(x) = x P x / 2 - b x over all of R^d,
///     log Z = (d log(2 pi) - log det P + b P^-1 b) / 2,
/// float64, shape (), differentiable in both: its gradient in b is the mean, and in P -E[x x] / 2.
/// `precision`: P, (d, d); only its symmetric part counts, as in the energy. `linear`: b, (d,);
/// absent: 0. Throws ValueError for other shapes and unless P is positive definite.
TORCH_EBM_API at::Tensor gaussian_log_z(const at::Tensor& precision,
                                        const std::optional<at::Tensor>& linear = std::nullopt);

}  // namespace torch_ebm
