#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API GibbsWithGradientsOptions {
  /// Whether x is one-hot, (N, ..., K): the last dimension then holds the K >= 2 states of a site.
  /// It must be given for x with three or more dimensions that is one-hot in the last one; otherwise
  /// it is false.
  std::optional<bool> categorical = std::nullopt;
  /// Boolean, over the sites, (...) or (N, ...): true where a site keeps its state.
  std::optional<at::Tensor> clamp = std::nullopt;
};

/// Gibbs with gradients (Grathwohl et al. 2021, algorithm 1) of a discrete energy that is
/// differentiable on the reals around its states: N chains, run.n_steps steps each. Leaves p(x) ~
/// exp(-beta E(x)) exactly invariant, and is reversible.
///
/// A step changes at most one site: with d, the first-order estimate of the change of -beta E, it
/// proposes a site (and one of its other states) with probability softmax(d / 2), and accepts with
/// the Metropolis-Hastings ratio. Each step takes one gradient. An energy with its own method
/// `gibbs_with_gradients` makes the steps of binary chains itself, unless some are clamped.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating.
/// Throws ValueError for other states, no chains, n_steps < 1, and chains that start where the
/// energy or its score is not finite. A proposal where one is not finite is rejected.
TORCH_EBM_API Samples gibbs_with_gradients(const Energy& energy, const at::Tensor& x,
                                           const RunOptions& run = {},
                                           const GibbsWithGradientsOptions& options = {});

}  // namespace torch_ebm
