#pragma once

#include "csrc/samplers/one_change.h"

namespace torch_ebm::detail {

/// Flips of binary units that the CPU kernels propose: one pass over the states and the score for each of the two log
/// probabilities.
class BinaryFlips final : public OneChange {
 public:
  /// Throws where the energy or the score is not finite. `chains` are those that has_kernel(chains.x) takes.
  BinaryFlips(const char* op, const Energy& energy, ChainRun& chains);

  Proposal propose(const at::Tensor& uniform) override;
  void choose(const Decision& decision) override;

 private:
  /// Sets energy and score at x.
  void evaluate(const at::Tensor& x, at::Tensor& energy, at::Tensor& score) const;

  const Energy& energy_;
  ChainRun& chains_;
  at::Tensor current_energy_;  // (N,), float64, tempered
  at::Tensor current_score_;   // (N, S), tempered
  at::Tensor proposed_energy_;
  at::Tensor proposed_score_;
  at::Tensor site_;  // (N, 1), int64: the units that are flipped
};

}  // namespace torch_ebm::detail
