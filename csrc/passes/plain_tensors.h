#pragma once
// Whether an operator may take a shortcut that looks at values, or that has a derivative of its own.

#include <ATen/ATen.h>
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/jit/frontend/tracer.h>

#include "csrc/passes/form.h"

namespace torch_ebm::detail {

/// Whether x is a dense tensor of float or double on the CPU, without a transform (vmap, functional derivatives) and
/// without a tangent.
inline bool is_plain(const at::Tensor& x) {
  return passes::kernels_take(x) && x.layout() == at::kStrided && !at::isTensorSubclassLike(x) &&
         !x._is_zerotensor() && !x.is_neg() && !x._fw_grad(/*level=*/0).defined();
}

/// Whether something records or changes the operators that are called.
inline bool is_traced() {
  return c10::impl::TorchDispatchModeTLS::any_modes_set() || torch::jit::tracer::isTracing() ||
         c10::impl::tls_is_dispatch_key_included(
             c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         at::autocast::is_autocast_enabled(at::kCPU);
}

}  // namespace torch_ebm::detail
