#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API HMCOptions {
  StepSize step_size = 0.1;
  int64_t n_leapfrog = 10;
  /// Every transition takes a number of leapfrog steps drawn uniformly from the integers within
  /// n_leapfrog (1 +- jitter), the same for all chains, because a fixed path length can coincide
  /// with the period of the motion (Neal 2011, section 3.2). In [0, 1).
  double jitter = 0;
  /// The diagonal of M^-1, ideally the variance of every unit: of the shape of one state, of all,
  /// or (). Absent: 1.
  std::optional<at::Tensor> inverse_mass = std::nullopt;
};

/// Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011, figure 2): momenta from N(0, M), leapfrog
/// steps, and acceptance with min(1, exp(H - H')). Leaves exp(-beta E) exactly invariant, and is
/// reversible.
///
/// x: (N, ...), floating. A proposal whose energy is not finite is rejected.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, n_leapfrog < 1, jitter outside [0,
/// 1), inverse_mass that is not positive, and chains that start where the energy or the score is
/// not finite.
TORCH_EBM_API Samples hmc(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                          const HMCOptions& options = {});

}  // namespace torch_ebm
