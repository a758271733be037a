#pragma once

#include <torch/csrc/jit/api/module.h>

#include "csrc/energy/method_energy.h"

namespace torch_ebm::detail {

/// A scripted module: its forward is the energy.
class ScriptEnergy : public MethodEnergy {
 public:
  explicit ScriptEnergy(torch::jit::Module module);
  at::Tensor value(const at::Tensor& x) const override;
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;

 private:
  /// Hooks on forward make it another energy than the one that the methods are closed forms of.
  bool has(const std::string& method) const override;
  c10::IValue call(const std::string& method, const char* expected,
                   std::vector<c10::IValue> arguments, const Options& options) const override;

  bool has_hooks_ = false;
  mutable torch::jit::Module module_;  // calling a scripted method is not const
};

}  // namespace torch_ebm::detail
