#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API MALAOptions {
  StepSize step_size = 0.01;
  /// A diagonal preconditioner, ideally the variance of every unit: of the shape of one state, of
  /// all, or ().
  /// Absent: 1.
  std::optional<at::Tensor> inverse_mass = std::nullopt;
};

/// The Metropolis-adjusted Langevin algorithm (Roberts & Tweedie 1996): proposes
///     x' ~ N(x - step_size M^-1 dE/dx, 2 step_size M^-1)
/// and accepts with the Metropolis-Hastings ratio. Leaves exp(-beta E) exactly invariant, and is
/// reversible.
///
/// x: (N, ...), floating. A proposal whose energy is not finite is rejected.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, inverse_mass that is not positive,
/// and chains that start where the energy or the score is not finite.
TORCH_EBM_API Samples mala(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                           const MALAOptions& options = {});

}  // namespace torch_ebm
