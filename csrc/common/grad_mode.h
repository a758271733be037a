#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

namespace torch_ebm::detail {

/// Lets an operator take gradients of its own, whatever mode its caller is in. Leaving inference mode is
/// not enough for tensors made under it: clone them.
struct InnerGradMode {
  c10::InferenceMode no_inference{false};
  at::AutoGradMode grad{true};
};

}  // namespace torch_ebm::detail
