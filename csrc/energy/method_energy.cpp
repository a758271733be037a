#include "csrc/energy/method_energy.h"

#include <algorithm>

#include "csrc/common/grad_mode.h"

namespace torch_ebm::detail {

namespace {

constexpr const char* kEnergies = "energies of shape (N,)";
constexpr const char* kStates = "a tensor like x";

MethodEnergy::Options gibbs_options(const RunOptions& run, const std::optional<at::Tensor>& clamp) {
  return {
      {"n_steps", run.n_steps}, {"beta", run.beta}, {"clamp", clamp}, {"generator", run.generator}};
}

std::tuple<at::Tensor, at::Tensor> pair_of(const char* method, const char* expected,
                                           const c10::IValue& result) {
  const auto is_tensor = [](const c10::IValue& part) { return part.isTensor(); };
  TORCH_CHECK_TYPE(result.isTuple() && result.toTupleRef().size() == 2 &&
                       std::ranges::all_of(result.toTupleRef().elements().vec(), is_tensor),
                   "energy: ", method, " must return ", expected, ", got ", result.type()->str());
  const auto& parts = result.toTupleRef().elements();
  return {parts[0].toTensor(), parts[1].toTensor()};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> MethodEnergy::value_and_score(const at::Tensor& x) const {
  constexpr const char* kName = "value_and_score";
  constexpr const char* kExpected = "energies of shape (N,) and scores like x";
  if (!has(kName)) return EnergyFunction::value_and_score(x);
  const NoGradMode no_grad;
  const auto [energies, score] = pair_of(kName, kExpected, call(kName, kExpected, {x.clone()}));
  return {energies.clone(), score.clone()};  // it may be reused
}

std::optional<at::Tensor> MethodEnergy::tempered(const at::Tensor& x,
                                                 const at::Tensor& beta) const {
  return call_if_there("tempered", kEnergies, {x, beta});
}

std::optional<at::Tensor> MethodEnergy::base_energy(const at::Tensor& x) const {
  return call_if_there("base_energy", kEnergies, {x});
}

bool MethodEnergy::has_path(const at::Tensor&) const {
  return has("tempered") || has("base_energy");
}

std::optional<at::Tensor> MethodEnergy::gibbs(const at::Tensor& x, const RunOptions& run,
                                              const std::optional<at::Tensor>& clamp) const {
  return call_if_there("gibbs", kStates, {x.clone()}, gibbs_options(run, clamp));
}

std::optional<at::Tensor> MethodEnergy::random_scan_gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  return call_if_there("random_scan_gibbs", kStates, {x.clone()}, gibbs_options(run, clamp));
}

std::optional<at::Tensor> MethodEnergy::categorical_gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  return call_if_there("categorical_gibbs", kStates, {x.clone()}, gibbs_options(run, clamp));
}

std::optional<std::tuple<at::Tensor, at::Tensor>> MethodEnergy::gibbs_with_gradients(
    const at::Tensor& x, const RunOptions& run) const {
  constexpr const char* kName = "gibbs_with_gradients";
  constexpr const char* kExpected = "states like x and acceptance rates of shape (N,)";
  if (!has(kName)) return std::nullopt;
  const c10::IValue result =
      call(kName, kExpected, {x.clone()},
           {{"n_steps", run.n_steps}, {"beta", run.beta}, {"generator", run.generator}});
  if (result.isNone()) return std::nullopt;
  return pair_of(kName, kExpected, result);
}

std::optional<at::Tensor> MethodEnergy::flip_differences(
    const at::Tensor& x, const std::optional<at::Tensor>& sites) const {
  return call_if_there("flip_differences", "a tensor of shape (N, sites)", {x, sites});
}

std::optional<at::Tensor> MethodEnergy::call_if_there(const char* method, const char* expected,
                                                      std::vector<c10::IValue> arguments,
                                                      const Options& options) const {
  if (!has(method)) return std::nullopt;
  const c10::IValue result = call(method, expected, std::move(arguments), options);
  if (result.isNone()) return std::nullopt;
  TORCH_CHECK_TYPE(result.isTensor(), "energy: ", method, " must return ", expected, ", got ",
                   result.tagKind());
  return result.toTensor();
}

}  // namespace torch_ebm::detail
