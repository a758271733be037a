#include "csrc/energy/script_energy.h"

#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>

#include "csrc/common/grad_mode.h"
#include "csrc/common/script_method.h"

namespace torch_ebm::detail {

namespace {

at::Tensor checked_tensor(const char* method, const char* expected, const c10::IValue& result) {
  TORCH_CHECK_TYPE(result.isTensor(), "energy: ", method, " must return ", expected, ", got ",
                   result.tagKind());
  return result.toTensor();
}

}  // namespace

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
  return checked_tensor("forward", "a tensor of shape (N,)", module_({x}));
}

std::tuple<at::Tensor, at::Tensor> ScriptEnergy::value_and_score(const at::Tensor& x) const {
  const auto method = closed_form("value_and_score");
  if (!method) {
    // TorchScript's optimiser takes the derivatives of activations apart, which makes scores slower.
    const torch::jit::GraphOptimizerEnabledGuard not_optimised(false);
    return EnergyFunction::value_and_score(x);
  }
  const NoGradMode no_grad;
  check_takes("energy", module_, "value_and_score", {x});
  const c10::IValue result = (*method)({x.clone()});
  const auto is_tensor = [](const c10::IValue& part) { return part.isTensor(); };
  TORCH_CHECK_TYPE(
      result.isTuple() && result.toTupleRef().size() == 2 &&
          std::ranges::all_of(result.toTupleRef().elements().vec(), is_tensor),
      "energy: value_and_score must return energies of shape (N,) and scores like x, got ",
      result.type()->str());
  const auto [energies, score] = result.to<std::tuple<at::Tensor, at::Tensor>>();
  return {energies.clone(), score.clone()};  // it may be reused
}

std::optional<at::Tensor> ScriptEnergy::tempered(const at::Tensor& x,
                                                 const at::Tensor& beta) const {
  const auto energies = call_if_there("tempered", {x, beta});
  if (!energies) return std::nullopt;
  return checked_tensor("tempered", "energies of shape (N,)", *energies);
}

bool ScriptEnergy::has_path(const at::Tensor&) const {
  return closed_form("tempered") || closed_form("base_energy");
}

std::optional<at::Tensor> ScriptEnergy::base_energy(const at::Tensor& x) const {
  const auto energies = call_if_there("base_energy", {x});
  if (!energies) return std::nullopt;
  return checked_tensor("base_energy", "energies of shape (N,)", *energies);
}

std::optional<at::Tensor> ScriptEnergy::gibbs(const at::Tensor& x, const RunOptions& run,
                                              const std::optional<at::Tensor>& clamp) const {
  return call_gibbs("gibbs", x, run, clamp);
}

std::optional<at::Tensor> ScriptEnergy::call_gibbs(const char* name, const at::Tensor& x,
                                                   const RunOptions& run,
                                                   const std::optional<at::Tensor>& clamp) const {
  const auto states = call_if_there(name, {x.clone()},
                                    {{"n_steps", run.n_steps},
                                     {"beta", run.beta},
                                     {"clamp", clamp},
                                     {"generator", run.generator}});
  if (!states) return std::nullopt;
  return checked_tensor(name, "a tensor like x", *states);
}

std::optional<at::Tensor> ScriptEnergy::random_scan_gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  return call_gibbs("random_scan_gibbs", x, run, clamp);
}

std::optional<std::tuple<at::Tensor, at::Tensor>> ScriptEnergy::gibbs_with_gradients(
    const at::Tensor& x, const RunOptions& run) const {
  constexpr const char* kName = "gibbs_with_gradients";
  constexpr const char* kExpected = "states like x and acceptance rates of shape (N,)";
  const auto result =
      call_if_there(kName, {x.clone()},
                    {{"n_steps", run.n_steps}, {"beta", run.beta}, {"generator", run.generator}});
  if (!result) return std::nullopt;
  TORCH_CHECK_TYPE(result->isTuple() && result->toTupleRef().size() == 2, "energy: ", kName,
                   " must return ", kExpected, ", got ", result->tagKind());
  const auto& pair = result->toTupleRef().elements();
  return std::tuple(checked_tensor(kName, kExpected, pair[0]),
                    checked_tensor(kName, kExpected, pair[1]));
}

std::optional<at::Tensor> ScriptEnergy::flip_differences(
    const at::Tensor& x, const std::optional<at::Tensor>& sites) const {
  const auto differences = call_if_there("flip_differences", {x, sites});
  if (!differences) return std::nullopt;
  return checked_tensor("flip_differences", "a tensor of shape (N, sites)", *differences);
}

std::optional<c10::IValue> ScriptEnergy::call_if_there(const char* name,
                                                       std::vector<c10::IValue> arguments,
                                                       const torch::jit::Kwargs& options) const {
  const auto method = closed_form(name);
  if (!method) return std::nullopt;
  check_takes("energy", module_, name, arguments, options);
  return (*method)(std::move(arguments), options);
}

std::optional<torch::jit::Method> ScriptEnergy::closed_form(const std::string& name) const {
  const bool is_base = name == "base_energy";  // not a closed form: it belongs to the path
  return has_hooks_ && !is_base ? std::nullopt : module_.find_method(name);
}

}  // namespace torch_ebm::detail
