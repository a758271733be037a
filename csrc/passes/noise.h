#pragma once

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// Uniform numbers in (0, 1) and normal numbers like x, (N, ...), on its device: functions of (key, chain, step,
/// stream, site). Both forms give the same uniform numbers bit for bit, and the same normal numbers but for rounding.
/// Half precision is rounded from float.
at::Tensor uniform_like(const at::Tensor& x, kernels::Draw draw);
at::Tensor normal_like(const at::Tensor& x, kernels::Draw draw);

}  // namespace torch_ebm::passes
