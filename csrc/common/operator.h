#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

/// The operator `name` as the public C++ functions call it: through the dispatcher, as Python does. Keep it
/// in a static: finding it takes a lock.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

/// The vmap rule of an operator that runs user code: it looks at values, which vmap does not allow.
inline void refuse_vmap(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, op.operator_name().name.substr(sizeof("torch_ebm::") - 1),
      ": vmap is not possible, since it looks at the values of states; give "
      "it all states in one batch, with beta or step_size for each chain");
}

/// The meta kernel of an operator that runs user code: what it returns depends on values. torch.compile leaves the call
/// out of its graph.
inline void refuse_meta(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string name = op.operator_name().name.substr(sizeof("torch_ebm::") - 1);
  const auto& arguments = op.schema().arguments();
  const size_t first = stack->size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = (*stack)[first + i];
    if (value.isTensor() && value.toTensor().defined()) {
      check_not_meta(name.c_str(), arguments[i].name().c_str(), value.toTensor());
    }
  }
  TORCH_CHECK_NOT_IMPLEMENTED(false, name, ": tensors must hold values, got a meta tensor");
}

}  // namespace torch_ebm::detail

/// Registers an operator whose results have no gradient, for every device: it reaches each through the passes, and
/// through torch's operations. `meta` gives the shapes of the results.
#define TORCH_EBM_NO_GRADIENT(name, function, meta)                                       \
  TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) { m.impl(name, function); } \
  TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl(name, meta); }                          \
  TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {                                            \
    m.impl(name, torch::CppFunction::makeFallthrough());                                  \
  }

/// Registers that vmap is refused.
#define TORCH_EBM_NO_VMAP(name)                                                                 \
  TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatched, m) {                                          \
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&torch_ebm::detail::refuse_vmap>()); \
  }

/// Registers an operator that runs user code and returns states, which have no gradient.
#define TORCH_EBM_DRIVER(name, function)                                            \
  TORCH_EBM_NO_GRADIENT(                                                            \
      name, function,                                                               \
      torch::CppFunction::makeFromBoxedFunction<&torch_ebm::detail::refuse_meta>()) \
  TORCH_EBM_NO_VMAP(name)
