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

}  // namespace torch_ebm::detail

/// Registers an operator that runs user code and returns states, which have no gradient. No meta kernel: what
/// it returns depends on values.
#define TORCH_EBM_DRIVER(name, function)                             \
  TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl(name, function); }  \
  TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl(name, function); } \
  TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {                       \
    m.impl(name, torch::CppFunction::makeFallthrough());             \
  }
