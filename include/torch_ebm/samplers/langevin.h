#pragma once

#include <ATen/ATen.h>

#include <limits>
#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API LangevinOptions {
  StepSize step_size = 0.01;
  /// Multiplies the noise: 1 samples exp(-E), 0 descends the energy. Short-run training of image
  /// models uses far less than 1, which samples exp(-E / noise_scale^2) (Nijkamp et al. 2019).
  double noise_scale = 1;
  /// Every element of the score is clamped to [-max_score, max_score] (Du & Mordatch 2019).
  double max_score = std::numeric_limits<double>::infinity();
  /// States are clamped to [low, high].
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

/// The unadjusted Langevin algorithm (Parisi 1981): N chains,
///     x <- x - step_size dE/dx + noise_scale sqrt(2 step_size) xi,   xi ~ N(0, 1).
/// Leaves p invariant only as step_size -> 0: on N(0, 1) its variance is 1 / (1 - step_size / 2).
/// Clamps and another noise scale change the distribution further. At inverse temperature beta, E
/// stands for the tempered energy.
///
/// x: (N, ...), floating.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, noise_scale < 0, max_score <= 0,
/// low >= high, and for a score or a state that is not finite (the message names the chain and the
/// step).
TORCH_EBM_API Samples langevin(const Energy& energy, const at::Tensor& x,
                               const RunOptions& run = {}, const LangevinOptions& options = {});

/// One step of it, in one pass over memory, for your own loops: x + step_size score + noise_scale
/// sqrt(2 step_size) xi. It draws the noise that langevin draws for its first step.
///
/// x, score: (N, ...), of one floating dtype and device. Returns a new tensor like x, detached.
/// Throws ValueError for no chains, another shape of score, step_size <= 0, noise_scale < 0, and
/// for a result that is not finite (the message names the chain); TypeError for wrong dtypes.
TORCH_EBM_API at::Tensor langevin_update(const at::Tensor& x, const at::Tensor& score,
                                         double step_size, double noise_scale = 1,
                                         std::optional<at::Generator> generator = std::nullopt);

}  // namespace torch_ebm
