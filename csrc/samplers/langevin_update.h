#pragma once

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

/// One step of Langevin dynamics, in one pass over memory:
///     next = clamp(x + drift * clamp(score, -max_score, max_score) + noise * xi, low, high),
/// with the xi of normal_like(x, draw). An infinite bound does not clamp.
///
/// x, score and next: (N, ...), contiguous, of one floating dtype and device; next may be x. drift and noise:
/// () or (N,), on that device, at least float. Returns false if an entry of next is not finite.
bool langevin_update(const at::Tensor& x, const at::Tensor& score, const at::Tensor& drift,
                     const at::Tensor& noise, double max_score, double low, double high,
                     kernels::Draw draw, at::Tensor& next);

}  // namespace torch_ebm::detail
