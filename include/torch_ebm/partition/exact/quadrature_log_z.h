#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// log Z of a continuous energy on a box; all float64, shape ().
struct TORCH_EBM_API QuadratureLogZ {
  at::Tensor log_z;
  at::Tensor error;  ///< |log_z - the same with half as many points|: a bound for a smooth energy
  at::Tensor
      border;  ///< highest density at the border / highest of all: 0 if the box holds the mass
};

/// log Z of an energy of states of shape (d,), d of 1, 2 or 3, on the box low <= x <= high: a sum
/// over a grid with n_panels panels of 16 Gauss-Legendre points in every dimension. Deterministic,
/// without gradient; for smooth energies the error falls exponentially as panels are added.
/// Energies are evaluated in batches of at most 16384 states of the dtype and device in `options`.
/// By default n_panels is 64, 32 or 8, that is 1024, 512^2 or 128^3 points. An energy of +inf
/// forbids a state. Throws ValueError unless low < high are d finite numbers each and 1 <= n_panels
/// <= 65536, and if an energy is NaN or -inf, or all are +inf.
TORCH_EBM_API QuadratureLogZ quadrature_log_z(const Energy& energy, at::ArrayRef<double> low,
                                              at::ArrayRef<double> high,
                                              std::optional<int64_t> n_panels = std::nullopt,
                                              const at::TensorOptions& options = {});

}  // namespace torch_ebm
