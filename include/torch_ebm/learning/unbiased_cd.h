#pragma once

#include <torch/nn/pimpl.h>

#include "torch_ebm/learning/negative_phase.h"

namespace torch_ebm {

struct TORCH_EBM_API UnbiasedCDOptions {
  /// k, the step from which the chains count: a larger one costs time and lowers the variance.
  int64_t n_steps = 1;
  /// The most steps that the chains may take until all have met.
  int64_t max_steps = 1000;
};

/// M weighted states, M >= N: E f is estimated without bias by sum_i weights[i] f(x[i]).
struct TORCH_EBM_API UnbiasedSamples {
  /// (M, ...); the first N are the states of the N chains after n_steps steps.
  at::Tensor x;
  /// (M,), each 1 / N or -1 / N, with sum 1; in the dtype of x, but at least float.
  at::Tensor weights;
  /// The chain that each state comes from, (M,), int64.
  at::Tensor chain;
};

/// Unbiased estimation from chains of finite length (Jacob, O'Leary & Atchade 2020; Qiu, Zhang &
/// Wang 2020). Two chains, a and b, start from every row of x, and a makes the first step alone.
/// From then on both make the same steps of `gibbs` with the same random numbers, until they meet
/// at time tau, a(tau) = b(tau - 1), and stay together. Then
///     f(a(k)) + sum_{t = k + 1}^{tau - 1} f(a(t)) - f(b(t - 1)),    k = n_steps,
/// is an unbiased estimate of E f, whatever the initial states of the chains.
///
/// An energy with its own Gibbs sampler must keep chains together once they have met: its random
/// numbers may depend only on the generator and the row. Chains that have met are not continued.
///
/// x: (N, ...) of zeros and ones, floating. Draws from the generator once per step.
/// Throws ValueError for other states, n_steps < 1, max_steps < n_steps; an error that says how
/// many chains have not met by then; and what `gibbs` throws.
TORCH_EBM_API UnbiasedSamples unbiased_cd(const Energy& energy, const at::Tensor& x,
                                          const UnbiasedCDOptions& options = {},
                                          std::optional<at::Generator> generator = std::nullopt);

/// Contrastive divergence without its bias: negative samples with weights, from unbiased_cd started
/// at the data.
///     log_partition(energy, negative, log_z, ucd->weights)
/// then has the expected gradient of log Z. `start` is, for every negative sample, where its chain
/// started. Throws, in a call, what unbiased_cd throws.
class TORCH_EBM_API UnbiasedCDImpl : public NegativePhaseImpl {
 public:
  explicit UnbiasedCDImpl(UnbiasedCDOptions options = {},
                          std::optional<uint64_t> seed = std::nullopt);

  /// Of the negative samples of the last call, (M,), with sum 1; undefined before the first.
  at::Tensor weights;

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
  at::Tensor transition(const Energy& energy, const at::Tensor& first,
                        at::Generator& generator) override;
  void keep(const at::Tensor& last_states) override;

 private:
  UnbiasedCDOptions options_;
  UnbiasedSamples samples_;  // of the current call
};
TORCH_MODULE(UnbiasedCD);

}  // namespace torch_ebm
