#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/export.h"
#include "torch_ebm/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API GibbsOptions {
  /// Boolean, (sites...) or (N, sites...): true where a site keeps its value (conditional sampling).
  std::optional<at::Tensor> clamp = std::nullopt;
  /// "systematic": a step updates every block, in their order. "random": a step updates one block of every chain,
  /// drawn uniformly for each chain; where the drawn sites are clamped, the chain stays.
  std::string scan = "systematic";
  /// x is one-hot, (N, ..., K): the last dimension holds the K >= 2 states of a site.
  bool categorical = false;
  /// Integers, (B, k): rows of sites (numbered in the order of memory) that are updated jointly. Every site must
  /// stand in at least one row, none twice in a row, and K^k (2^k) must be at most 4096. Absent: every site alone.
  std::optional<at::Tensor> blocks = std::nullopt;
};

/// Gibbs sampling of a discrete energy: N chains, run.n_steps steps each. Leaves p(x) ~ exp(-beta E(x)) exactly
/// invariant; with scan = "random" it is reversible too.
///
/// An update draws the joint state of a block of sites from its exact conditional law (Geman & Geman 1984), with
/// K^k - 1 energy calls: for a single binary site one call, and x_i = 1 with probability
/// sigmoid(beta (E(x_i = 0) - E(x_i = 1))). Each takes one uniform number and inverts the conditional law: of chains
/// with the same random numbers, those whose other sites agree draw the same.
///
/// An energy with a Gibbs sampler of its own (an RBM) makes its block steps instead, unless a random scan, categorical
/// states or blocks are asked for.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating.
/// Throws ValueError for states that are not so, no chains, n_steps < 1, blocks that do not fit, an energy that is
/// NaN or -inf (the chain, the step and the first site of the block are named); +inf forbids a state.
TORCH_EBM_API Samples gibbs(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                            const GibbsOptions& options = {});

}  // namespace torch_ebm
