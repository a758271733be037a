#pragma once

#include <torch/nn/pimpl.h>

#include "torch_ebm/learning/negative_phase.h"

namespace torch_ebm {

/// Persistent chains that see the parameters plus fast weights (Tieleman & Hinton 2009):
///     fast <- decay fast + fast_learning_rate g,
///     g = mean grad E(negative) - mean grad E(positive),
/// where g is the gradient of the log-likelihood, estimated at the parameters themselves. The fast
/// weights raise the energy where the chains are, and so drive the chains on even where the model
/// itself mixes slowly.
///
/// `module` holds the parameters of the energy that forward is called with; those that require a
/// gradient are moved. They are changed in place while the sampler runs and are then restored bit
/// for bit, even after an exception; `.grad` and graphs recorded before are left alone. `positive`
/// is required.
///
/// Throws ValueError for a module without such parameters, a fast_learning_rate that is not finite
/// and >= 0, and a decay outside [0, 1]; in a call, for an energy that does not depend on them or a
/// gradient that is not finite.
class TORCH_EBM_API FastPCDImpl : public PCDImpl {
 public:
  FastPCDImpl(int64_t n_chains, std::vector<int64_t> shape, const torch::nn::Module& module,
              Sampler sampler, double fast_learning_rate, double decay = 0.95,
              StartLaw law = "bernoulli", std::optional<uint64_t> seed = std::nullopt);

  /// One for every parameter, in their order and shapes; buffers.
  std::vector<at::Tensor> fast;

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
  at::Tensor transition(const Energy& energy, const at::Tensor& first,
                        at::Generator& generator) override;
  void keep(const at::Tensor& last_states) override;

 private:
  std::vector<at::Tensor> parameters_;
  double fast_learning_rate_;
  double decay_;
  at::Tensor positive_;                // of the current call
  std::vector<at::Tensor> next_fast_;  // after it
};
TORCH_MODULE(FastPCD);

}  // namespace torch_ebm
