#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API NUTSOptions {
  StepSize step_size = 0.1;
  /// The most often a trajectory is doubled, for at most 2^max_depth - 1 leapfrog steps. In [1,
  /// 20].
  int64_t max_depth = 10;
  /// The diagonal of M^-1, ideally the variance of every unit: of the shape of one state, of all,
  /// or (). Absent: 1.
  std::optional<at::Tensor> inverse_mass = std::nullopt;
};

/// The No-U-Turn sampler: Hamiltonian Monte Carlo that finds its own path length. A trajectory is
/// doubled forwards or backwards in time until it, or a balanced part of it, turns back (Hoffman &
/// Gelman 2014); the next state is drawn from its points with weights exp(-H), with preference for
/// the newer half (Betancourt 2017, appendices A.2 and A.3). Turning is detected by the sum of
/// momenta (appendix A.4.2), over every balanced part and across the middle of each. Leaves
/// exp(-beta E) exactly invariant, and is reversible.
///
/// A trajectory ends where H exceeds its first value by more than 1000 or is not finite. The
/// acceptance rate is the mean of min(1, exp(H_0 - H)) over all points computed; it is near 0 where
/// trajectories end in this way. The chains of a batch take their leapfrog steps together, until
/// the last one has turned. Chains that have turned rest, but the energy is still evaluated for all
/// rows, because it may depend on the row.
///
/// x: (N, ...), floating.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, max_depth
/// outside [1, 20], inverse_mass that is not positive, and chains that start where the energy or
/// the score is not finite.
TORCH_EBM_API Samples nuts(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                           const NUTSOptions& options = {});

}  // namespace torch_ebm
