#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace torch_ebm::detail {

/// The operator `name` as the public C++ functions call it: through the dispatcher, as Python does. Keep it
/// in a static: finding it takes a lock.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace torch_ebm::detail
