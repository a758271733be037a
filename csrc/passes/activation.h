#pragma once

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// field <- f(field + bias), (N, H), contiguous; returns the slopes there. Torch's form puts another tensor in place of
/// `field`, since vmap may batch one of the two.
at::Tensor activate_(kernels::Activation f, at::Tensor& field, const at::Tensor& bias);

}  // namespace torch_ebm::passes
