#pragma once

#include <torch/nn/pimpl.h>

#include "torch_ebm/learning/negative_phase.h"

namespace torch_ebm {

/// Chains kept in a buffer larger than a batch (Du & Mordatch 2019; Grathwohl et al. 2020): a call
/// draws n_chains different slots at random, restarts each of them from `law` with probability
/// reinit_probability, runs the sampler and writes every result back to its slot. Throws ValueError
/// unless 1 <= n_chains <= capacity and 0 <= reinit_probability <= 1.
class TORCH_EBM_API ReplayBufferImpl : public NegativePhaseImpl {
 public:
  ReplayBufferImpl(int64_t capacity, int64_t n_chains, std::vector<int64_t> shape, Sampler sampler,
                   StartLaw law = "uniform", double reinit_probability = 0.05,
                   std::optional<uint64_t> seed = std::nullopt);

  /// (capacity, ...); a buffer.
  at::Tensor states;
  /// The number of calls that have moved each state since it was drawn from `law`, (capacity,),
  /// int64; a buffer.
  at::Tensor age;
  /// The slots that a call draws, (n_chains,), int64, known before its sampler runs; undefined before
  /// the first call.
  at::Tensor slots;

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
  void keep(const at::Tensor& last_states) override;

 private:
  int64_t n_chains_;
  StartLaw law_;
  double reinit_probability_;
  at::Tensor restart_;  // (n_chains,), boolean
};
TORCH_MODULE(ReplayBuffer);

}  // namespace torch_ebm
