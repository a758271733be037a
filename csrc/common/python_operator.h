#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace torch_ebm::detail {

/// The operator `name`, which the Python package implements. Keep it in a static: finding it takes a lock.
template <typename Signature>
c10::TypedOperatorHandle<Signature> implemented_in_python(const char* name) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  TORCH_CHECK_NOT_IMPLEMENTED(
      op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd), name,
      ": only a Python process that imported torch_ebm can call Python; elsewhere pass a scripted "
      "module");
  return op.typed<Signature>();
}

}  // namespace torch_ebm::detail
