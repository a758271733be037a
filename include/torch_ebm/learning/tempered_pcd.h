#pragma once

#include <torch/nn/pimpl.h>

#include "torch_ebm/learning/negative_phase.h"

namespace torch_ebm {

/// Persistent chains at every rung of a ladder, moved by replica_exchange (Desjardins et al. 2010;
/// Cho, Raiko & Ilin 2010): hot chains cross between modes in which those of PCD would stay. The
/// negative samples are those of rung 0. Throws ValueError for betas that replica_exchange rejects
/// and n_steps < 1.
class TORCH_EBM_API TemperedPCDImpl : public NegativePhaseImpl {
 public:
  TemperedPCDImpl(int64_t n_chains, std::vector<int64_t> shape, const at::Tensor& betas,
                  Sampler sampler, int64_t n_steps = 1, const StartLaw& law = "bernoulli",
                  std::optional<uint64_t> seed = std::nullopt);

  /// The chains of all rungs, (R, n_chains, ...); a buffer.
  at::Tensor chains;
  /// 0 if the next call swaps even pairs first, 1 if odd ones; a buffer.
  at::Tensor parity;
  /// Of the last call, as replica_exchange returns it; undefined before the first.
  at::Tensor swap_rate;

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
  at::Tensor transition(const Energy& energy, const at::Tensor& first,
                        at::Generator& generator) override;
  void keep(const at::Tensor& last_states) override;
  at::Tensor negatives(const at::Tensor& last_states) const override;

 private:
  at::Tensor betas_;
  int64_t n_steps_;
};
TORCH_MODULE(TemperedPCD);

}  // namespace torch_ebm
