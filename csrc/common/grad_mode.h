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

/// Under which energies are called for their values alone. Not in inference mode: its tensors have no version,
/// by which an energy that changes x is found out, and a scripted energy that was optimised outside of it does
/// not take them. Leaving that mode turns gradients on, so the order counts.
struct NoGradMode {
  c10::InferenceMode no_inference{false};
  at::NoGradGuard no_grad;
};

}  // namespace torch_ebm::detail
