#pragma once

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"
#include "csrc/passes/flag.h"

namespace torch_ebm::passes {

/// One step of Langevin dynamics, in one pass over memory:
///     clamp(x + drift * clamp(score, -max_score, max_score) + noise * xi, low, high),
/// with the xi of normal_like(x, draw). An infinite bound does not clamp.
///
/// x and score: (N, ...), contiguous, of one floating dtype and device. drift and noise: () or (N,), of any dtype and
/// device. Raises the flag if an entry of the result is not finite.
at::Tensor langevin_update(const at::Tensor& x, const at::Tensor& score, const at::Tensor& drift,
                           const at::Tensor& noise, double max_score, double low, double high,
                           kernels::Draw draw, Flag& not_finite);

}  // namespace torch_ebm::passes
