#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// log Z as a differentiable quantity, from the energies E(x_i) of negative samples x_i ~ p. Its
/// gradient is that of the negative phase (Goodfellow, Bengio & Courville 2016, eq. 18.13),
///     grad log Z = -mean_i grad E(x_i);
/// its value is `log_z` if given, otherwise -mean_i E(x_i). The training loss is
///     energy(data).mean() + log_partition(energy(negative), log_z),
/// the negative log-likelihood if log_z is log Z, and the energy gap without. With weights w_i, as
/// UnbiasedCD returns them, sum_i w_i E(x_i) replaces both means.
///
/// negative_energies: (N,), N >= 1. log_z: one number. weights: (N,), floating; they get no
/// gradient. Returns a number, shape (); in float64 if log_z is. NaN stays NaN. Throws ValueError
/// for other shapes.
TORCH_EBM_API at::Tensor log_partition(const at::Tensor& negative_energies,
                                       const std::optional<at::Tensor>& log_z = std::nullopt,
                                       const std::optional<at::Tensor>& weights = std::nullopt);

/// The same from the samples themselves; they get no gradient.
TORCH_EBM_API at::Tensor log_partition(const Energy& energy, const at::Tensor& negative_samples,
                                       const std::optional<at::Tensor>& log_z = std::nullopt,
                                       const std::optional<at::Tensor>& weights = std::nullopt);

}  // namespace torch_ebm
