#include "torch_ebm/energy.h"

#include <torch/csrc/autograd/autograd.h>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/energy/callback_energy.h"
#include "csrc/energy/script_energy.h"

namespace torch_ebm {

namespace {

class FunctionEnergy : public EnergyFunction {
 public:
  explicit FunctionEnergy(std::function<at::Tensor(const at::Tensor&)> function)
      : function_(std::move(function)) {}
  at::Tensor value(const at::Tensor& x) const override { return function_(x); }

 private:
  std::function<at::Tensor(const at::Tensor&)> function_;
};

void check_energies(const at::Tensor& energies, const at::Tensor& x) {
  detail::check_floating("energy", "its value", energies);
  detail::check_shape("energy", "its value", energies, {x.size(0)}, "(N,)");
  TORCH_CHECK_VALUE(energies.device() == x.device(),
                    "energy: its value must be on the device of x, ", x.device(), ", got ",
                    energies.device());
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> EnergyFunction::value_and_score(const at::Tensor& x) const {
  const detail::InnerGradMode grad_mode;
  const at::Tensor input = x.detach().clone().requires_grad_();
  const at::Tensor energies = value(input);
  check_energies(energies, x);
  TORCH_CHECK_VALUE(energies.requires_grad(),
                    "energy: its value must depend differentiably on x to have a score");
  const auto gradient = torch::autograd::grad({energies.sum()}, {input}, {}, false, false, true)[0];
  TORCH_CHECK_VALUE(gradient.defined(),
                    "energy: its value must depend differentiably on x to have a score");
  return {energies.detach(), gradient.neg()};
}

std::optional<at::Tensor> EnergyFunction::gibbs(const at::Tensor&, const GibbsOptions&) const {
  return std::nullopt;
}

Energy::Energy(std::shared_ptr<const EnergyFunction> function) : function_(std::move(function)) {
  TORCH_CHECK_VALUE(function_, "Energy: the energy must not be null");
}

Energy::Energy(std::function<at::Tensor(const at::Tensor&)> function)
    : Energy(function ? std::make_shared<FunctionEnergy>(std::move(function)) : nullptr) {}

Energy::Energy(const torch::jit::Module& module)
    : Energy(std::make_shared<detail::ScriptEnergy>(module)) {}

Energy Energy::from_ivalue(const char* op, const c10::IValue& value) {
  if (value.isModule()) return Energy(value.toModule());
  TORCH_CHECK_TYPE(
      value.isInt(), op,
      ": energy must be a scripted module or the handle of a registered callable, got ",
      value.tagKind());
  return Energy(std::make_shared<detail::CallbackEnergy>(value.toInt()));
}

at::Tensor Energy::value(const at::Tensor& x) const {
  const auto version = [&] { return x.is_inference() ? 0 : x._version(); };
  const auto before = version();
  at::Tensor energies = function_->value(x);
  check_energies(energies, x);
  TORCH_CHECK_VALUE(version() == before,
                    "energy: it must not change x in place: the chains would change with it");
  return energies;
}

std::tuple<at::Tensor, at::Tensor> Energy::value_and_score(const at::Tensor& x) const {
  return function_->value_and_score(x);
}

std::optional<at::Tensor> Energy::gibbs(const at::Tensor& x, const GibbsOptions& options) const {
  auto result = function_->gibbs(x, options);
  if (result) {
    detail::check_same_type("energy", "what its gibbs returns", *result, "x", x);
    TORCH_CHECK_VALUE(
        result->sizes() == x.sizes(), "energy: its gibbs must return the shape of x, ",
        detail::describe_shape(x.sizes()), ", got ", detail::describe_shape(result->sizes()));
    return result->detach();
  }
  return result;
}

}  // namespace torch_ebm
