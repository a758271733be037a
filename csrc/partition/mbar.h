#pragma once

#include <optional>

#include "torch_ebm/mbar.h"

namespace torch_ebm::detail {

/// The multistate Bennett acceptance ratio of arguments that were checked.
class MBAR {
 public:
  /// energies (K, N); counts (K,), float64.
  MBAR(const at::Tensor& energies, const at::Tensor& counts);

  /// log Z of each state, (K,), up to a constant; found from `start`, if one is near.
  at::Tensor log_z(const std::optional<at::Tensor>& start = std::nullopt) const;
  /// With the covariance and the overlap at the log Z that log_z found.
  MBAREstimate estimate(const at::Tensor& log_z) const;

 private:
  /// With p_n (S,) the probabilities that sample n is one of each of the S sampled states:
  struct Sums {
    at::Tensor states;  // sum_n p_n, (S,)
    at::Tensor pairs;   // sum_n p_n p_n', (S, S)
  };
  Sums sums(const at::Tensor& log_z) const;
  /// What Newton's method adds to log Z, if the equations are not singular.
  std::optional<at::Tensor> newton_step(const Sums& sums) const;
  at::Tensor residual(const Sums& sums) const;
  at::Tensor solve(at::Tensor log_z) const;
  /// log of the density that all samples together are drawn from, (N,).
  at::Tensor log_mixture(const at::Tensor& log_z) const;

  at::Tensor all_energies_;  // (K, N)
  at::Tensor all_counts_;    // (K,)
  at::Tensor sampled_;       // the S states with samples
  at::Tensor energies_;      // (S, N)
  at::Tensor counts_;        // (S,)
  at::Tensor root_;          // sqrt(counts_)
};

}  // namespace torch_ebm::detail
