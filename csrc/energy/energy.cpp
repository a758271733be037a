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

at::Tensor leaf_like(const at::Tensor& x) { return x.detach().clone().requires_grad_(); }

/// Energies and scores of energies that were computed from `leaf`.
std::tuple<at::Tensor, at::Tensor> differentiate(const at::Tensor& energies,
                                                 const at::Tensor& leaf) {
  check_energies(energies, leaf);
  TORCH_CHECK_VALUE(energies.requires_grad(),
                    "energy: its value must depend differentiably on x to have a score");
  const auto gradient = torch::autograd::grad({energies.sum()}, {leaf}, {}, false, false, true)[0];
  TORCH_CHECK_VALUE(gradient.defined(),
                    "energy: its value must depend differentiably on x to have a score");
  return {energies.detach(), gradient.neg()};
}

/// What an energy says of x by itself, in memory of its own.
std::tuple<at::Tensor, at::Tensor> checked_score(const EnergyFunction& function,
                                                 const at::Tensor& x) {
  const auto [energies, score] = function.value_and_score(x);
  check_energies(energies, x);
  detail::check_same_type("energy", "its score", score, "x", x);
  TORCH_CHECK_VALUE(score.sizes() == x.sizes(), "energy: its score must have the shape of x, ",
                    detail::describe_shape(x.sizes()), ", got ",
                    detail::describe_shape(score.sizes()));
  return {energies.detach(), score.detach()};
}

/// Refuses an energy that changes the states it is given.
class UnchangedGuard {
 public:
  explicit UnchangedGuard(const at::Tensor& x) : x_(x), before_(version()) {}
  void check() const {
    TORCH_CHECK_VALUE(version() == before_,
                      "energy: it must not change x in place: the chains would change with it");
  }

 private:
  uint32_t version() const { return x_.is_inference() ? 0 : x_._version(); }
  const at::Tensor& x_;
  uint32_t before_;
};

/// One factor for every chain, to multiply x (N, ...) with.
at::Tensor like_chains(const at::Tensor& beta, const at::Tensor& x) {
  const at::Tensor factor = beta.to(x.options());
  if (factor.dim() == 0) return factor;
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = factor.size(0);
  return factor.view(shape);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> EnergyFunction::value_and_score(const at::Tensor& x) const {
  const detail::InnerGradMode grad_mode;
  const at::Tensor leaf = leaf_like(x);
  return differentiate(value(leaf), leaf);
}

std::optional<at::Tensor> EnergyFunction::tempered(const at::Tensor&, const at::Tensor&) const {
  return std::nullopt;
}

std::optional<at::Tensor> EnergyFunction::gibbs(const at::Tensor&, const RunOptions&,
                                                const std::optional<at::Tensor>&) const {
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

at::Tensor Energy::value(const at::Tensor& x, const std::optional<at::Tensor>& beta) const {
  const UnchangedGuard unchanged(x);
  std::optional<at::Tensor> energies;
  if (beta) energies = function_->tempered(x, beta->to(x.options()));
  const bool temper = beta && !energies;
  if (!energies) energies = function_->value(x);
  check_energies(*energies, x);
  unchanged.check();
  return temper ? energies->to(at::kDouble) * *beta : *energies;
}

std::tuple<at::Tensor, at::Tensor> Energy::value_and_score(
    const at::Tensor& x, const std::optional<at::Tensor>& beta) const {
  if (!beta) return checked_score(*function_, x);
  {
    const detail::InnerGradMode grad_mode;
    const at::Tensor leaf = leaf_like(x);
    const auto energies = function_->tempered(leaf, beta->to(x.options()));
    if (energies) return differentiate(*energies, leaf);
  }
  const auto [energies, score] = checked_score(*function_, x);
  return {energies.to(at::kDouble) * *beta, score * like_chains(*beta, score)};
}

std::optional<at::Tensor> Energy::gibbs(const at::Tensor& x, const RunOptions& run,
                                        const std::optional<at::Tensor>& clamp) const {
  auto result = function_->gibbs(x, run, clamp);
  if (!result) return result;
  detail::check_same_type("energy", "what its gibbs returns", *result, "x", x);
  TORCH_CHECK_VALUE(result->sizes() == x.sizes(), "energy: its gibbs must return the shape of x, ",
                    detail::describe_shape(x.sizes()), ", got ",
                    detail::describe_shape(result->sizes()));
  return result->detach();
}

}  // namespace torch_ebm
