#include "csrc/energy/script_energy.h"

#include <torch/csrc/jit/runtime/graph_executor.h>

#include "csrc/common/script_method.h"

namespace torch_ebm::detail {

ScriptEnergy::ScriptEnergy(torch::jit::Module module) : module_(std::move(module)) {
  TORCH_CHECK_VALUE(
      module_.find_method("forward"), "energy: the scripted module ", module_.type()->str(),
      " must have a method forward(x); torch.jit.freeze drops the methods of a submodule "
      "unless it is among preserved_attrs");
  const auto& type = *module_.type();
  has_hooks_ = !type.getForwardHooks().empty() || !type.getForwardPreHooks().empty();
}

at::Tensor ScriptEnergy::value(const at::Tensor& x) const {
  check_takes("energy", module_, "forward", {x});
  const c10::IValue energies = module_({x});
  TORCH_CHECK_TYPE(energies.isTensor(), "energy: forward must return a tensor of shape (N,), got ",
                   energies.tagKind());
  return energies.toTensor();
}

std::tuple<at::Tensor, at::Tensor> ScriptEnergy::value_and_score(const at::Tensor& x) const {
  if (has("value_and_score")) return MethodEnergy::value_and_score(x);
  // TorchScript's optimiser takes the derivatives of activations apart, which makes scores slower.
  const torch::jit::GraphOptimizerEnabledGuard not_optimised(false);
  return EnergyFunction::value_and_score(x);
}

bool ScriptEnergy::has(const std::string& method) const {
  const bool is_base = method == "base_energy";  // not a closed form: it belongs to the path
  return (is_base || !has_hooks_) && module_.find_method(method);
}

c10::IValue ScriptEnergy::call(const std::string& method, const char*,
                               std::vector<c10::IValue> arguments, const Options& options) const {
  const torch::jit::Kwargs named(options.begin(), options.end());
  check_takes("energy", module_, method, arguments, named);
  return module_.get_method(method)(std::move(arguments), named);
}

}  // namespace torch_ebm::detail
