#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API DiscreteLangevinOptions {
  /// alpha: one number, one for every step, or one for every chain.
  StepSize step_size = 0.2;
  /// Accept or reject each proposal: exact (DMALA). Otherwise every proposal is accepted: biased
  /// (DULA).
  bool metropolis = true;
  /// Whether x is one-hot, (N, ..., K): the last dimension then holds the K >= 2 states of a site.
  /// It must be given for x with three or more dimensions that is one-hot in the last one; otherwise
  /// it is false.
  std::optional<bool> categorical = std::nullopt;
};

/// The discrete Langevin proposal (Zhang, Liu & Liu 2022) for a discrete energy that is
/// differentiable on the reals around its states: N chains, run.n_steps steps each, which update
/// all sites at once, with one gradient per step.
///
/// Every site draws its new state independently, x'_i with probability proportional to
/// exp(score_i (x'_i - x_i) / 2 - |x'_i - x_i|^2 / (2 alpha)): a binary site flips with probability
/// sigmoid(d_i / 2 - 1 / (2 alpha)), where d_i is the first-order estimate of the change of -beta
/// E; for one-hot sites |x'_i - x_i|^2 is 2.
///
/// metropolis = true accepts with the Metropolis-Hastings ratio: leaves p(x) ~ exp(-beta E(x))
/// exactly invariant, for any step size, and is reversible. metropolis = false does not: if E is
/// quadratic, it is reversible with respect to p(x) Z_alpha(x), the product of the sites'
/// normalisers (1 + exp(d_i / 2 - 1 / (2 alpha)) for a binary one), which tends to p as alpha -> 0;
/// for other E the target is left invariant only in that limit.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating.
/// Throws ValueError for other states, no chains, n_steps < 1, step sizes that are not positive and
/// finite, and chains that start where the energy or its score is not finite. A proposal where one
/// is not finite is rejected; without `metropolis` it throws too.
TORCH_EBM_API Samples discrete_langevin(const Energy& energy, const at::Tensor& x,
                                        const RunOptions& run = {},
                                        const DiscreteLangevinOptions& options = {});

}  // namespace torch_ebm
