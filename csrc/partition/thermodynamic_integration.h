#pragma once

#include <functional>

#include "torch_ebm/thermodynamic_integration.h"

namespace torch_ebm::detail {

/// The sum over the path of R laws, and what it is made of.
struct PathIntegral {
  double log_z;
  /// What each of the samples adds to the sum, up to a constant, like the derivatives, (R, ...).
  at::Tensor terms;
  /// Of what the rule leaves out.
  double error;
};

/// E_b - E_a at the samples of law `at`, (M,) or (T, C), float64.
using EnergyDifference = std::function<at::Tensor(int64_t a, int64_t b, int64_t at)>;

/// log Z of the last of R laws over that of the first. Between two laws the path is the straight line between their
/// energies. betas: (R,), float64.
PathIntegral integrate(const EnergyDifference& difference, const at::Tensor& betas, bool corrected);

}  // namespace torch_ebm::detail
