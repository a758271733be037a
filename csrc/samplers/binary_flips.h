#pragma once

#include "csrc/samplers/one_change.h"

namespace torch_ebm::detail {

/// What is known about the flips of binary chains at their current states.
struct FlipPoint {
  at::Tensor energy;   // (N,), float64, tempered
  at::Tensor score;    // (N, S), tempered, contiguous
  at::Tensor weights;  // (N, 1 + tiles), float64: see passes::weigh_flips
};

/// Flips of binary units: one pass over states and score of a proposal weighs its flips, for the reverse move and for
/// the next step. Nothing else here touches more than a tile of a chain, except for the scores of chains that reject.
class BinaryFlips final : public OneChange {
 public:
  /// For chains in float or double. `clamp`, (N, S), is undefined if all units may flip. Throws
  /// where the energy or the score is not finite.
  BinaryFlips(const char* op, const Energy& energy, ChainRun& chains, const at::Tensor& clamp);

  Proposal propose(const at::Tensor& uniform) override;
  void choose(const Decision& decision) override;

 private:
  FlipPoint at(const at::Tensor& x) const;

  const Energy& energy_;
  ChainRun& chains_;
  at::Tensor clamp_;
  at::Tensor site_;        // (N,), int64: the units proposed to be flipped
  at::Tensor proposed_x_;  // chains_.x, but for these units; all of it between two steps
  FlipPoint current_;
  FlipPoint proposed_;
};

}  // namespace torch_ebm::detail
