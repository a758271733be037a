#pragma once

#include "csrc/samplers/one_change.h"

namespace torch_ebm::detail {

/// Flips of binary units that the CPU kernels propose: one pass over states and score for each of the two log
/// probabilities. Nothing else here touches more than a unit of a chain, but for the scores of those that accept.
class BinaryFlips final : public OneChange {
 public:
  /// For chains with has_kernel(chains.x). Throws where the energy or the score is not finite.
  BinaryFlips(const char* op, const Energy& energy, ChainRun& chains);

  Proposal propose(const at::Tensor& uniform) override;
  void choose(const Decision& decision) override;

 private:
  /// Energy and score at proposed_x_.
  std::tuple<at::Tensor, at::Tensor> evaluate() const;

  const Energy& energy_;
  ChainRun& chains_;
  at::Tensor energy_here_;  // (N,), float64, tempered
  at::Tensor score_here_;   // (N, S), tempered
  at::Tensor site_;         // (N,), int64: the units proposed to be flipped
  at::Tensor proposed_x_;   // chains_.x, but for these units; all of it between two steps
  at::Tensor proposed_energy_;
  at::Tensor proposed_score_;
};

}  // namespace torch_ebm::detail
