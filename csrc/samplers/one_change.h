#pragma once

#include "csrc/samplers/chain_run.h"

namespace torch_ebm::detail {

/// What the Metropolis rule needs of a proposal x' to every chain x.
struct Proposal {
  at::Tensor energy;     // (N,), float64, tempered
  at::Tensor log_ratio;  // (N,), float64: log p(x') q(x | x') / (p(x) q(x' | x))
};

/// Chains of discrete states, of which a step changes one site, with what is known where they are.
class OneChange {
 public:
  virtual ~OneChange() = default;

  /// Proposes a change of one site to every chain, each from one uniform number, (N,), float64.
  virtual Proposal propose(const at::Tensor& uniform) = 0;
  /// Changes the chains that accepted the last proposal.
  virtual void choose(const Decision& decision) = 0;
};

}  // namespace torch_ebm::detail
