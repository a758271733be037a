#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// The result of replica_exchange for R rungs of N chains.
struct TORCH_EBM_API ReplicaSamples {
  /// The last states, (R, N, ...), rung by rung; the argument itself if the run was in place.
  at::Tensor x;
  /// The mean acceptance probability of the attempted swaps between rungs r and r + 1, (R - 1,),
  /// float64; NaN if there were none.
  at::Tensor swap_rate;
  /// The states of rung 0, the target, after every `thin`-th step, (n_steps / thin, N, ...); of all
  /// rungs, (n_steps / thin, R, N, ...), with all_rungs.
  at::Tensor trajectory;
  /// The rung, after every step, of the replica that began at rung r, (n_steps, R, N), int16.
  at::Tensor replica;
};

struct TORCH_EBM_API ReplicaExchangeOptions {
  /// The number of steps already made. It decides which pairs are swapped next, so that two short
  /// runs equal one long run.
  int64_t first_step = 0;
  /// The trajectory holds the states of all rungs.
  bool all_rungs = false;
};

/// Replica exchange, or parallel tempering (Swendsen & Wang 1986; Geyer 1991), of N independent
/// ladders of R rungs; the target of rung r is exp(-E_b), E_b(x) the energy at inverse temperature
/// b = betas[r].
///
/// A step moves all R N states by one call of `sampler`, then exchanges the states of neighbouring
/// rungs, those of pairs (0, 1), (2, 3), ... in even steps and (1, 2), (3, 4), ... in odd ones,
/// with probability
///     min(1, exp(E_a(x) + E_b(y) - E_a(y) - E_b(x)))    (x at rung a, y at rung b).
/// Both parts leave the product of the targets invariant, if the sampler does. Their composition is
/// not reversible, and therefore carries states along the ladder faster than random pairs (Okabe et
/// al. 2001; Syed et al. 2022).
///
/// x: (R, N, ...), floating. betas: (R,), float64, strictly decreasing, finite and >= 0, R >= 2;
/// betas[0] is the target's, usually 1. run.beta must be absent. The swaps draw one key from the
/// generator; the sampler draws from the same generator in every step. A swap whose energies are
/// NaN or infinite is rejected. If a step throws, an x that is changed in place holds the states
/// after the last completed step.
/// Throws ValueError for invalid arguments and for a sampler that returns states of another shape.
TORCH_EBM_API ReplicaSamples replica_exchange(const Energy& energy, const at::Tensor& x,
                                              const at::Tensor& betas, const Sampler& sampler,
                                              const RunOptions& run = {},
                                              const ReplicaExchangeOptions& options = {});

}  // namespace torch_ebm
