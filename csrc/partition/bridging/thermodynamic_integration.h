#pragma once

#include <functional>

#include "torch_ebm/partition/bridging/thermodynamic_integration.h"

namespace torch_ebm::detail {

/// The sum over the path of R distributions, and its parts.
struct PathIntegral {
  double log_z;
  /// The contribution of each sample to the sum, up to a constant, like the derivatives, (R, ...).
  at::Tensor terms;
  /// An estimate of the quadrature error.
  double error;
};

/// E_b - E_a at the samples of distribution `at`, (M,) or (T, C), float64.
using EnergyDifference = std::function<at::Tensor(int64_t a, int64_t b, int64_t at)>;

/// log Z of the last of R distributions over that of the first. Between two of them the path is the
/// straight line between their energies. betas: (R,), float64.
PathIntegral integrate(const EnergyDifference& difference, const at::Tensor& betas, bool corrected);

}  // namespace torch_ebm::detail
