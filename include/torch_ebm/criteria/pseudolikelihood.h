#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API PseudolikelihoodOptions {
  /// Whether x is one-hot, (N, ..., K): the last dimension then holds the K >= 2 states of a site.
  /// It must be given for x with three or more dimensions that is one-hot in the last one; otherwise
  /// it is false.
  std::optional<bool> categorical = std::nullopt;
  /// Integers, (B, k): rows of sites (numbered in the order of memory), no site twice in a row,
  /// whose joint conditional distribution is used; K^k (2^k) must be at most 4096. Absent: every
  /// site alone.
  std::optional<at::Tensor> blocks = std::nullopt;
  /// Estimate the sum from this many sites (or blocks) of every example, drawn without replacement.
  /// Absent: all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// About how many states the energy is given at a time, at least those of one site (or block). No
  /// graph is then kept: the backward pass recomputes the energies, with the memory of one call.
  /// Until then the energy must not change (no dropout, no other mode or precision). Hooks of
  /// parameters run in every call. Absent: as many states as hold about 2^20 numbers, with the
  /// graph of all.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// The negative log pseudolikelihood (Besag 1975) of each example,
///     l(x) = -sum_i log p(x_i | x_-i)
///          = sum_i log(1 + sum over the other states of site i of exp(E(x) - E(x'))),
/// with `blocks` the composite likelihood -sum_b log p(x_b | the other sites) (Lindsay 1988): the
/// generalised pseudolikelihood if the blocks cover the sites, the conditional likelihood of some
/// sites given the others if there is one block.
///
/// Consistent: its expectation under the data is smallest at the true parameters, as for every
/// conditional log-likelihood. It fails where conditionals say little about the joint distribution:
/// the weights of modes that are far apart are not learned.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating. The energy is called for N (M
/// - 1) neighbours of a block of M joint states; an energy with `flip_differences`, such as an RBM,
/// computes the differences of single bits itself.
/// Throws ValueError for other states, invalid blocks, and options out of range; a NaN energy gives
/// NaN.
TORCH_EBM_API at::Tensor pseudolikelihood(const Energy& energy, const at::Tensor& x,
                                          const CriterionOptions& criterion = {},
                                          const PseudolikelihoodOptions& options = {});

}  // namespace torch_ebm
