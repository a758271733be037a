#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API UnderdampedLangevinOptions {
  StepSize step_size = 0.1;
  /// Rate at which momenta are forgotten, per unit of time.
  double friction = 1;
  /// The diagonal of M^-1, ideally the variance of every unit: of the shape of one state, of all,
  /// or (). Absent: 1.
  std::optional<at::Tensor> inverse_mass = std::nullopt;
};

/// Underdamped Langevin dynamics by the BAOAB splitting (Leimkuhler & Matthews 2013): half a kick,
/// half a drift, p <- c p + sqrt(1 - c^2) N(0, M) with c = exp(-friction step_size), half a drift,
/// half a kick. Each step takes one score. Not exact, but the bias of its states is only of order
/// step_size^2, and for a Gaussian there is none. Momenta are drawn anew in every call: they are
/// never shared or carried from chain to chain.
///
/// x: (N, ...), floating.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, friction <= 0, inverse_mass that
/// is not positive, and for a score or a state that is not finite (the message names the chain and
/// the step).
TORCH_EBM_API Samples underdamped_langevin(const Energy& energy, const at::Tensor& x,
                                           const RunOptions& run = {},
                                           const UnderdampedLangevinOptions& options = {});

}  // namespace torch_ebm
