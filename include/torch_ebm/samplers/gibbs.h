#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API GibbsOptions {
  /// Boolean, (sites...) or (N, sites...): true where a site keeps its value (conditional
  /// sampling).
  std::optional<at::Tensor> clamp = std::nullopt;
  /// "systematic": a step updates every block, in order. "random": a step updates one block of
  /// every chain, drawn uniformly for each chain; if the drawn sites are clamped, the chain stays
  /// where it is.
  std::string scan = "systematic";
  /// Whether x is one-hot, (N, ..., K): the last dimension then holds the K >= 2 states of a site.
  /// It must be given for x with three or more dimensions that is one-hot in the last one; otherwise
  /// it is false.
  std::optional<bool> categorical = std::nullopt;
  /// Integers, (B, k): rows of sites (numbered in the order of memory) that are updated jointly.
  /// Every site must be in at least one row, at most once per row, and K^k (2^k) must be at most
  /// 4096. Absent: every site alone.
  std::optional<at::Tensor> blocks = std::nullopt;
};

/// Gibbs sampling of a discrete energy: N chains, run.n_steps steps each. Leaves p(x) ~ exp(-beta
/// E(x)) exactly invariant; with scan = "random" it is also reversible.
///
/// An update draws the joint state of a block of sites from its exact conditional distribution
/// (Geman & Geman 1984), with K^k - 1 energy calls: for a single binary site one call, and x_i = 1
/// with probability sigmoid(beta (E(x_i = 0) - E(x_i = 1))). Each takes one uniform number and
/// inverts the conditional distribution: chains with the same random numbers, whose other sites
/// agree, draw the same state.
///
/// An energy with its own Gibbs sampler (an RBM) makes its block steps instead, except with a
/// random scan, categorical states or blocks.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating.
/// Throws ValueError for other states, no chains, n_steps < 1, invalid blocks, an energy that is
/// NaN or -inf (the message names the chain, the step and the first site of the block); +inf
/// forbids a state.
TORCH_EBM_API Samples gibbs(const Energy& energy, const at::Tensor& x, const RunOptions& run = {},
                            const GibbsOptions& options = {});

}  // namespace torch_ebm
