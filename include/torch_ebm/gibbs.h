#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/export.h"
#include "torch_ebm/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API GibbsOptions {
  /// Boolean, (units...) or (N, units...): true where a unit keeps its value (conditional sampling).
  std::optional<at::Tensor> clamp = std::nullopt;
};

/// Gibbs sampling of a binary energy: N chains, run.n_steps steps each. Leaves p(x) ~ exp(-beta E(x))
/// exactly invariant.
///
/// An energy with a Gibbs sampler of its own (an RBM) makes block steps. Any other makes one sweep of
/// single-site updates a step, in the order of the sites (Geman & Geman 1984): x_i = 1 with probability
/// sigmoid(beta (E(x_i = 0) - E(x_i = 1))), one energy call a site.
///
/// x: (N, ...) of zeros and ones, floating.
/// Throws ValueError for states that are not 0 or 1, no chains, n_steps < 1, an energy that is NaN or
/// -inf (the chain, the step and the site are named); +inf forbids a state.
TORCH_EBM_API Samples gibbs(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                            const GibbsOptions& options = {});

}  // namespace torch_ebm
