#pragma once

#include <ATen/TensorIndexing.h>

#include <optional>
#include <utility>

#include "torch_ebm/partition/bridging/mbar.h"

namespace torch_ebm::detail {

/// The multistate Bennett acceptance ratio of arguments that were checked, solved.
///
/// A constant in the energies of one state, or in those of one sample at every state, can be far larger than what
/// matters. Both are taken off before anything is added up, and log Z is taken off with the states' constants: what
/// remains of log Z is 0, so that equations hold to the same accuracy whatever the constants.
class MBAR {
 public:
  /// energies (K, N); counts (K,), float64; log_z (K,): where to begin, if something is known.
  MBAR(const at::Tensor& energies, const at::Tensor& counts,
       const std::optional<at::Tensor>& log_z = std::nullopt);

  /// log Z of each state, (K,), up to a constant.
  at::Tensor log_z() const { return -shift_; }
  MBAREstimate estimate() const;
  /// W of Shirts & Chodera's eq. 9 as (K, N): what each sample counts for in a mean over state k.
  at::Tensor weights() const;
  /// Means of values (N, D) over every state and their asymptotic variances, (K, D) each.
  std::pair<at::Tensor, at::Tensor> expectation(const at::Tensor& values) const;

 private:
  /// With p_n (S,) the probabilities that sample n is one of each of the S sampled states:
  struct Sums {
    at::Tensor states;  // sum_n p_n, (S,)
    at::Tensor pairs;   // sum_n p_n p_n', (S, S)
  };
  /// The energies of `states` less the constants of states and samples, at some samples, float64.
  at::Tensor reduced(const at::Tensor& states, const at::indexing::Slice& samples) const;
  void find_offset();
  void solve();
  void find_log_mixture();
  void find_unsampled();
  Sums sums(const at::Tensor& log_z) const;
  /// What Newton's method adds to log Z, if the equations are not singular.
  std::optional<at::Tensor> newton_step(const Sums& sums) const;
  at::Tensor residual(const Sums& sums) const;
  at::Tensor chunk_weights(const at::indexing::Slice& samples) const;
  /// The Cholesky factor of 1 - N^1/2 W'W N^1/2 over the sampled states, made regular, from W'W (K, K).
  at::Tensor information_factor(const at::Tensor& gram) const;
  at::Tensor gram() const;

  at::Tensor energies_;     // (K, N)
  at::Tensor all_counts_;   // (K,)
  at::Tensor sampled_;      // the S states with samples
  at::Tensor counts_;       // of them, (S,)
  at::Tensor root_;         // sqrt(counts_)
  at::Tensor shift_;        // a constant of each state, (K,): in the end -log Z
  at::Tensor offset_;       // a constant of each sample, (N,)
  at::Tensor log_mixture_;  // log of the density that all samples together are drawn from, (N,)
};

}  // namespace torch_ebm::detail
