#pragma once
// Tests of exactness for your energy and sampler, with a stated rate of false alarms; in Python,
// torch_ebm.testing. Nothing here depends on a test framework:
//
//     const auto states = testing::enumerate_states({6});
//     EXPECT_TRUE(testing::check_invariance(my_sampler, my_energy, states).passes());

#include <ATen/ATen.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm::testing {

/// The outcome of a check.
struct TORCH_EBM_API Check {
  std::string what;
  /// The probability of a result at least this bad if all is right, already multiplied by the
  /// number of quantities tested.
  double p_value = 1;
  /// The statistic, and where it is worst.
  std::string detail = {};

  /// alpha is the rate of false alarms.
  bool passes(double alpha = 1e-6) const { return p_value >= alpha; }
};

struct TORCH_EBM_API CheckOptions {
  int64_t n_chains = 20000;
  /// How often the sampler is called.
  int64_t n_calls = 3;
  std::optional<double> beta = std::nullopt;
  uint64_t seed = 0;
  /// The number of the state that the chains of check_convergence start from; -1 is the last.
  int64_t start = 0;
};

/// Pearson's test that `counts` (K,) were drawn from `probabilities` (K,), known up to a factor.
/// The rarest states are pooled until 10 counts are expected for them. Throws ValueError for too
/// few counts.
TORCH_EBM_API Check chi_square_check(const at::Tensor& counts, const at::Tensor& probabilities,
                                     const std::string& what = "counts");

/// A z-test that independent samples, (N,) or (N, D), have this mean, in every column.
TORCH_EBM_API Check mean_check(const at::Tensor& samples, double mean,
                               const std::string& what = "mean");
/// The same with a mean for every column, (D,).
TORCH_EBM_API Check mean_check(const at::Tensor& samples, const at::Tensor& mean,
                               const std::string& what = "mean");

/// All states of sites arranged in `shape`, (S, ...), the first site changing fastest; at most 2^20.
/// Zeros and ones if n_states is 2, else one-hot vectors in a last dimension of n_states.
TORCH_EBM_API at::Tensor enumerate_states(at::IntArrayRef shape, at::ScalarType dtype = at::kDouble,
                                          int64_t n_states = 2);

/// Probabilities (S,) of `states` (S, ...) at inverse temperature beta, float64.
TORCH_EBM_API at::Tensor exact_law(const Energy& energy, const at::Tensor& states,
                                   std::optional<double> beta = std::nullopt);

/// The numbers (N,) of binary states x (N, ...), in the order of enumerate_states.
TORCH_EBM_API at::Tensor state_numbers(const at::Tensor& x);

/// Chains that start from the exact distribution of an energy on `states` (S, ...), all that there
/// are, still have it after options.n_calls. Detects every wrong target, but not a sampler that
/// stays where it is. Throws ValueError if the sampler returns anything but one of the states.
TORCH_EBM_API Check check_invariance(const Sampler& sampler, const Energy& energy,
                                     const at::Tensor& states, const CheckOptions& options = {});

/// Chains that all start at state number options.start have the exact distribution after
/// options.n_calls, which must be many. Detects what invariance does not: a sampler that skips a
/// unit, or does not move.
TORCH_EBM_API Check check_convergence(const Sampler& sampler, const Energy& energy,
                                      const at::Tensor& states,
                                      const CheckOptions& options = {.n_calls = 100});

/// How often one call leads from state i to state j, (S, S), with options.n_chains chains from
/// every state.
TORCH_EBM_API at::Tensor transition_counts(const Sampler& sampler, const Energy& energy,
                                           const at::Tensor& states,
                                           const CheckOptions& options = {.n_chains = 4000});

/// `counts` of transition_counts agree with an exact transition matrix (S, S).
TORCH_EBM_API Check check_transitions(const at::Tensor& counts,
                                      const at::Tensor& transition_matrix);

/// p_i P_ij = p_j P_ji for all pairs, as for every reversible sampler. A systematic sweep fails
/// this.
TORCH_EBM_API Check check_detailed_balance(const at::Tensor& counts, const at::Tensor& law);

/// A tempering move on replicas (R, N, ...): returns new ones.
using Exchange =
    std::function<at::Tensor(const Energy&, const at::Tensor& x, const at::Generator&)>;

/// Replicas that start from the product of the exact distributions at `betas` still have it, rung
/// by rung and for neighbouring rungs jointly. Detects swaps that use a different energy than the
/// one that the transitions leave invariant.
TORCH_EBM_API Check check_swap_rule(const Exchange& exchange, const Energy& energy,
                                    const at::Tensor& states, const std::vector<double>& betas,
                                    const CheckOptions& options = {});

/// Maps states (N, ...) to (N, D).
using Statistics = std::function<at::Tensor(const at::Tensor& x)>;

/// Chains that start from independent exact samples (N, ...) keep the mean of every statistic: by
/// default the coordinates, their squares and the energy. The test is of the differences chain by
/// chain, whose mean is exactly zero.
TORCH_EBM_API Check check_keeps_law(const Sampler& sampler, const Energy& energy,
                                    const at::Tensor& exact_samples,
                                    const CheckOptions& options = {.n_calls = 1},
                                    const Statistics& statistics = {});

/// The gradient of loss() in the parameters has mean zero, as it must at the true ones; loss must
/// draw its data, and its negative samples if it has any, anew in every call, from the model
/// itself.
TORCH_EBM_API Check check_gradient_vanishes(const std::function<at::Tensor()>& loss,
                                            const std::vector<at::Tensor>& parameters,
                                            int64_t n_repeats = 400);

}  // namespace torch_ebm::testing
