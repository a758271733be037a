#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

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

}  // namespace torch_ebm::detail

/// Registers an operator that runs user code and returns states, which have no gradient. No meta kernel: what
/// it returns depends on values.
#define TORCH_EBM_DRIVER(name, function)                                                        \
  TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl(name, function); }                             \
  TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl(name, function); }                            \
  TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {                                                  \
    m.impl(name, torch::CppFunction::makeFallthrough());                                        \
  }                                                                                             \
  TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatched, m) {                                          \
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&torch_ebm::detail::refuse_vmap>()); \
  }
