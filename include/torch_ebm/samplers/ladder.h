#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// A ladder of inverse temperatures for replica_exchange, with the last states and swap rates of
/// its tuning.
struct TORCH_EBM_API Ladder {
  at::Tensor betas;  // (R,), float64
  at::Tensor x;      // the last states, (R, N, ...)
  /// The acceptance rate of swaps in the last round, before its adaptation, (R - 1,), float64.
  at::Tensor swap_rate;

  /// The communication barrier, sum of (1 - swap_rate) (Syed et al. 2022): the same for every fine
  /// enough ladder.
  double barrier() const;
  /// The number of rungs that carries states along the ladder most cheaply, 2 barrier + 1.
  int64_t suggested_rungs() const;
};

/// A ladder with the same ends and number of rungs, and equal rejection rates of neighbours (Syed
/// et al. 2022, section 5.1): the cumulative rejection rate along the ladder, interpolated
/// linearly, is cut into equal parts.
///
/// betas: (R,), strictly decreasing; swap_rate: (R - 1,), in [0, 1]. Returns (R,), float64.
TORCH_EBM_API at::Tensor adapt_ladder(const at::Tensor& betas, const at::Tensor& swap_rate);

struct TORCH_EBM_API TuneLadderOptions {
  int64_t n_rounds = 6;
  /// Of the first round; each later round is twice as long.
  int64_t n_steps = 16;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Rounds of replica_exchange, each followed by adapt_ladder. Arguments as for replica_exchange.
TORCH_EBM_API Ladder tune_ladder(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                                 const Sampler& sampler, const TuneLadderOptions& options = {});

}  // namespace torch_ebm
