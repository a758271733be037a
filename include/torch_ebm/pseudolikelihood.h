#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API PseudolikelihoodOptions {
  /// x is one-hot, (N, ..., K): the last dimension holds the K >= 2 states of a site.
  bool categorical = false;
  /// Integers, (B, k): rows of sites (numbered in the order of memory), none twice in a row, of which the joint
  /// conditional law is taken; K^k (2^k) must be at most 4096. Absent: every site alone.
  std::optional<at::Tensor> blocks = std::nullopt;
  /// Estimate the sum from that many sites (or blocks) of every example, drawn without replacement. Absent: all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// About how many states the energy is asked for at a time, at least those of one site (or block). Then no graph is
  /// kept: the backward pass computes the energies again, with the memory of one call, and the energy must not change
  /// before (no dropout, other mode or precision). Hooks of parameters run in every call. Absent: as many states as
  /// hold about 2^20 numbers, with the graph of all.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// The negative log pseudolikelihood (Besag 1975) of each example,
///     l(x) = -sum_i log p(x_i | x_-i) = sum_i log(1 + sum over the other states of site i of exp(E(x) - E(x'))),
/// with `blocks` the composite likelihood -sum_b log p(x_b | the other sites) (Lindsay 1988): the generalised
/// pseudolikelihood if the blocks cover the sites, the conditional likelihood if they are one block of them.
///
/// Consistent: its expectation under the data is least at the true parameters, as every conditional log likelihood is.
/// It fails where conditionals say little of the joint law: between modes that are far apart, their weights are not
/// learned.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating. The energy is called for N (M - 1) neighbours of a
/// block of M joint states; an energy with `flip_differences`, such as an RBM, gives those of single bits itself.
/// Throws ValueError for states that are not so, blocks that do not fit, and options out of range; NaN energies come
/// through.
TORCH_EBM_API at::Tensor pseudolikelihood(const Energy& energy, const at::Tensor& x,
                                          const CriterionOptions& criterion = {},
                                          const PseudolikelihoodOptions& options = {});

}  // namespace torch_ebm
