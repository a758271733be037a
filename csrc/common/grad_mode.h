#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

namespace torch_ebm::detail {

/// Lets an operator compute its own gradients, whatever mode its caller is in. Leaving inference
/// mode is not enough for tensors made under it: clone them.
struct InnerGradMode {
  c10::InferenceMode no_inference{false};
  at::AutoGradMode grad{true};
};

/// The mode in which energies are called for their values alone. It is not inference mode: tensors
/// made there have no version counter, which reveals an energy that changes x, and a scripted
/// energy that was optimised outside that mode does not accept them. Leaving inference mode turns
/// gradients on, so the order matters.
struct NoGradMode {
  c10::InferenceMode no_inference{false};
  at::NoGradGuard no_grad;
};

}  // namespace torch_ebm::detail
