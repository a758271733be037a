#include "csrc/energy/callback_energy.h"

#include "csrc/common/python_operator.h"

#include "csrc/common/grad_mode.h"

namespace torch_ebm::detail {

at::Tensor CallbackEnergy::value(const at::Tensor& x) const {
  static const auto op =
      implemented_in_python<at::Tensor(const at::Tensor&, int64_t)>("torch_ebm::_call_energy");
  return op.call(x, handle_);
}

std::tuple<at::Tensor, at::Tensor> CallbackEnergy::value_and_score(const at::Tensor& x) const {
  static const auto op =
      implemented_in_python<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, int64_t)>(
          "torch_ebm::_call_energy_value_and_score");
  if (!has("value_and_score")) return EnergyFunction::value_and_score(x);
  const NoGradMode no_grad;
  const auto [energies, score] = op.call(x.clone(), handle_);
  return {energies.clone(), score.clone()};  // it may be reused
}

bool CallbackEnergy::has(const std::string& method) const {
  static const auto op =
      implemented_in_python<bool(int64_t, c10::string_view)>("torch_ebm::_energy_has");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = has_.find(method);
    if (known != has_.end()) return known->second;
  }
  const bool answer = op.call(handle_, method);
  const std::lock_guard<std::mutex> lock(mutex_);
  return has_[method] = answer;
}

bool CallbackEnergy::has_path(const at::Tensor&) const {
  return has("tempered") || has("base_energy");
}

std::optional<at::Tensor> CallbackEnergy::tempered(const at::Tensor& x,
                                                   const at::Tensor& beta) const {
  static const auto op =
      implemented_in_python<at::Tensor(const at::Tensor&, int64_t, const at::Tensor&)>(
          "torch_ebm::_call_energy_tempered");
  if (!has("tempered")) return std::nullopt;
  return op.call(x, handle_, beta);
}

std::optional<at::Tensor> CallbackEnergy::base_energy(const at::Tensor& x) const {
  static const auto op =
      implemented_in_python<at::Tensor(const at::Tensor&, int64_t)>("torch_ebm::_call_energy_base");
  if (!has("base_energy")) return std::nullopt;
  return op.call(x, handle_);
}

namespace {

using CallGibbs = std::optional<at::Tensor>(const at::Tensor&, int64_t, int64_t,
                                            const std::optional<at::Tensor>&,
                                            const std::optional<at::Tensor>&,
                                            std::optional<at::Generator>);

}  // namespace

std::optional<at::Tensor> CallbackEnergy::gibbs(const at::Tensor& x, const RunOptions& run,
                                                const std::optional<at::Tensor>& clamp) const {
  static const auto op = implemented_in_python<CallGibbs>("torch_ebm::_call_energy_gibbs");
  if (!has("gibbs")) return std::nullopt;
  return op.call(x.clone(), handle_, run.n_steps, run.beta, clamp, run.generator);
}

std::optional<at::Tensor> CallbackEnergy::random_scan_gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  static const auto op =
      implemented_in_python<CallGibbs>("torch_ebm::_call_energy_random_scan_gibbs");
  if (!has("random_scan_gibbs")) return std::nullopt;
  return op.call(x.clone(), handle_, run.n_steps, run.beta, clamp, run.generator);
}

std::optional<std::tuple<at::Tensor, at::Tensor>> CallbackEnergy::gibbs_with_gradients(
    const at::Tensor& x, const RunOptions& run) const {
  static const auto op =
      implemented_in_python<std::tuple<std::optional<at::Tensor>, std::optional<at::Tensor>>(
          const at::Tensor&, int64_t, int64_t, const std::optional<at::Tensor>&,
          std::optional<at::Generator>)>("torch_ebm::_call_energy_gibbs_with_gradients");
  if (!has("gibbs_with_gradients")) return std::nullopt;
  const auto [states, acceptance_rate] =
      op.call(x.clone(), handle_, run.n_steps, run.beta, run.generator);
  if (!states || !acceptance_rate) return std::nullopt;
  return std::tuple(*states, *acceptance_rate);
}

std::optional<at::Tensor> CallbackEnergy::flip_differences(
    const at::Tensor& x, const std::optional<at::Tensor>& sites) const {
  static const auto op = implemented_in_python<at::Tensor(const at::Tensor&, int64_t,
                                                          const std::optional<at::Tensor>&)>(
      "torch_ebm::_call_energy_flip_differences");
  if (!has("flip_differences")) return std::nullopt;
  return op.call(x, handle_, sites);
}

}  // namespace torch_ebm::detail
