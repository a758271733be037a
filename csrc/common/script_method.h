#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace torch_ebm::detail {

/// Throws TypeError, naming `what`, if the method of a user's scripted module does not take these arguments.
inline void check_takes(const char* what, const torch::jit::Module& module, const std::string& name,
                        std::vector<c10::IValue> arguments,
                        const torch::jit::Kwargs& options = {}) {
  const torch::jit::Method method = module.get_method(name);
  const c10::FunctionSchema& schema = method.function().getSchema();
  arguments.insert(arguments.begin(), module._ivalue());
  try {
    schema.checkAndNormalizeInputs(arguments, options);
  } catch (const c10::Error&) {
    std::string taken;
    for (size_t i = 1; i < arguments.size(); ++i) {
      taken += (i == 1 ? "a " : ", a ") + arguments[i].tagKind();
    }
    for (const auto& option : options) taken += ", " + option.first;
    TORCH_CHECK_TYPE(false, what, ": its method ", name, " must take ", taken, "; it is ", schema);
  }
}

}  // namespace torch_ebm::detail
