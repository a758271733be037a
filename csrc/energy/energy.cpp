#include "torch_ebm/energy/energy.h"

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/per_chain.h"
#include "csrc/energy/callback_energy.h"
#include "csrc/energy/energy_value.h"
#include "csrc/energy/held_energies.h"
#include "csrc/energy/score.h"
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

/// What the sampler `method` of an energy returned for the chains x.
void check_own_states(const char* method, const at::Tensor& states, const at::Tensor& x) {
  const std::string what = std::string("what its ") + method + " returns";
  detail::check_same_type("energy", what.c_str(), states, "x", x);
  TORCH_CHECK_VALUE(states.sizes() == x.sizes(), "energy: its ", method,
                    " must return the shape of x, ", detail::describe_shape(x.sizes()), ", got ",
                    detail::describe_shape(states.sizes()));
}

/// What a Gibbs sampler of the energy's own returned for the chains x, checked and without a graph.
std::optional<at::Tensor> own_states(const char* method, const std::optional<at::Tensor>& states,
                                     const at::Tensor& x) {
  if (!states) return std::nullopt;
  check_own_states(method, *states, x);
  return states->detach();
}

/// x as a leaf of a graph. It shares the memory of x, which autograd protects from changes.
at::Tensor leaf_like(const at::Tensor& x) {
  const at::Tensor detached = x.detach();
  return (detached.is_inference() ? detached.clone() : detached).requires_grad_();
}

/// Energies and scores of energies that were computed from `leaf`.
std::tuple<at::Tensor, at::Tensor> differentiate(const at::Tensor& energies,
                                                 const at::Tensor& leaf) {
  check_energies(energies, leaf);
  const at::Tensor score = detail::score_of(energies, leaf, /*create_graph=*/false);
  return {energies.detach().clone(), score};  // an energy may return the same memory every time
}

/// The energies and scores that an energy computes itself, in their own memory.
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

/// beta E, where an infinite energy forbids a state at every temperature, including beta = 0.
at::Tensor times_beta(const at::Tensor& energies, const at::Tensor& beta) {
  return at::where(at::isposinf(energies), energies, energies * beta);
}

/// beta E + (1 - beta) E_0, in float64.
at::Tensor at_beta(const at::Tensor& energies, const std::optional<at::Tensor>& base,
                   const at::Tensor& beta) {
  const at::Tensor scaled = times_beta(energies.to(at::kDouble), beta);
  return base ? scaled + times_beta(base->to(at::kDouble), 1 - beta) : scaled;
}

/// at_beta, solved for E.
at::Tensor without_beta(const KnownEnergy& known, const std::optional<at::Tensor>& base) {
  const at::Tensor& beta = known.beta;
  return (base ? known.energy - (1 - beta) * base->to(at::kDouble) : known.energy) / beta;
}

/// The temperature at which an energy's own sampler is run, in the precision of `tempered`.
RunOptions in_dtype_of(const at::Tensor& x, RunOptions run) {
  if (run.beta && run.beta->defined()) run.beta = run.beta->to(x.options());
  return run;
}

/// Rejects an energy that changes the states it is given. A version counter shows it at no cost,
/// except changes through `.data` or another library: `compare` shows these.
class UnchangedGuard {
 public:
  UnchangedGuard(const at::Tensor& x, bool compare) : x_(x), before_(version()) {
    if (compare && detail::has_values(x)) compared_ = first_rows().detach().clone();
  }
  void check() const {
    TORCH_CHECK_VALUE(version() == before_ && (!compared_.defined() || is_same()),
                      "energy: it must not change x in place: the chains would change with it");
  }

 private:
  uint32_t version() const { return x_.is_inference() ? 0 : x_._version(); }

  bool is_same() const {
    const at::Tensor now = first_rows().detach();
    return at::equal(compared_, now) ||
           at::allclose(compared_, now, /*rtol=*/0, /*atol=*/0, /*equal_nan=*/true);
  }

  /// Enough of the states: a normalisation changes all.
  at::Tensor first_rows() const {
    constexpr int64_t kMost = 1 << 20;
    if (x_.numel() <= kMost) return x_;
    return x_.narrow(0, 0, std::max<int64_t>(1, kMost * x_.size(0) / x_.numel()));
  }

  const at::Tensor& x_;
  uint32_t before_;
  at::Tensor compared_;
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> EnergyFunction::value_and_score(const at::Tensor& x) const {
  const detail::InnerGradMode grad_mode;
  const at::Tensor leaf = leaf_like(x);
  return differentiate(value(leaf), leaf);
}

std::optional<at::Tensor> EnergyFunction::tempered(const at::Tensor&, const at::Tensor&) const {
  return std::nullopt;
}

bool EnergyFunction::has_path(const at::Tensor& x) const {
  return tempered(x, at::ones({}, x.options())) || base_energy(x);
}

std::optional<at::Tensor> EnergyFunction::base_energy(const at::Tensor&) const {
  return std::nullopt;
}

std::optional<at::Tensor> EnergyFunction::gibbs(const at::Tensor&, const RunOptions&,
                                                const std::optional<at::Tensor>&) const {
  return std::nullopt;
}

std::optional<at::Tensor> EnergyFunction::random_scan_gibbs(
    const at::Tensor&, const RunOptions&, const std::optional<at::Tensor>&) const {
  return std::nullopt;
}

std::optional<at::Tensor> EnergyFunction::categorical_gibbs(
    const at::Tensor&, const RunOptions&, const std::optional<at::Tensor>&) const {
  return std::nullopt;
}

std::optional<std::tuple<at::Tensor, at::Tensor>> EnergyFunction::gibbs_with_gradients(
    const at::Tensor&, const RunOptions&) const {
  return std::nullopt;
}

std::optional<at::Tensor> EnergyFunction::flip_differences(const at::Tensor&,
                                                           const std::optional<at::Tensor>&) const {
  return std::nullopt;
}

std::shared_ptr<const EnergyFunction> EnergyFunction::in_field(const at::Tensor&) const {
  return nullptr;
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
  if (value.isCapsule()) return detail::held_energy(op, value);
  TORCH_CHECK_TYPE(
      value.isInt(), op,
      ": energy must be a scripted module or the handle of a registered callable, got ",
      value.tagKind());
  if (detail::is_held(value.toInt())) return Energy(detail::held(op, value.toInt()));
  return Energy(std::make_shared<detail::CallbackEnergy>(value.toInt()));
}

/// What a call with the states x returns. They must be unchanged after it.
template <typename Call>
auto Energy::guarded(Part part, const at::Tensor& x, const Call& call) const {
  if (function_->is_per_example()) return call();
  const unsigned bit = 1U << static_cast<unsigned>(part);
  const UnchangedGuard unchanged(x, /*compare=*/(compared_->fetch_or(bit) & bit) == 0);
  auto result = call();
  unchanged.check();
  return result;
}

std::optional<at::Tensor> Energy::tempered(const at::Tensor& x, const at::Tensor& beta) const {
  const auto energies =
      guarded(Part::kTempered, x, [&] { return function_->tempered(x, beta.to(x.options())); });
  if (energies) check_energies(*energies, x);
  return energies;
}

std::optional<at::Tensor> Energy::base_energy(const at::Tensor& x) const {
  const auto energies = guarded(Part::kBase, x, [&] { return function_->base_energy(x); });
  if (energies) check_energies(*energies, x);
  return energies;
}

std::optional<std::tuple<at::Tensor, at::Tensor>> Energy::base_and_score(
    const at::Tensor& x) const {
  const detail::InnerGradMode grad_mode;
  const at::Tensor leaf = leaf_like(x);
  const auto energies = base_energy(leaf);
  if (!energies) return std::nullopt;
  if (!energies->requires_grad()) {  // constant, as for a uniform distribution
    return std::tuple(energies->clone(), at::zeros_like(x));
  }
  return differentiate(*energies, leaf);
}

at::Tensor Energy::value(const at::Tensor& x, const std::optional<at::Tensor>& beta) const {
  if (beta) {
    if (const auto energies = tempered(x, *beta)) return *energies;
  }
  at::Tensor energies = guarded(Part::kValue, x, [&] { return function_->value(x); });
  check_energies(energies, x);
  if (!beta) return energies;
  energies = energies.to(at::kDouble, false, /*copy=*/true);  // the energy may reuse its memory
  return at_beta(energies, base_energy(x), *beta);
}

bool Energy::has_path(const at::Tensor& x) const { return function_->has_path(x); }

at::Tensor Energy::values_at(const at::Tensor& x, const std::vector<at::Tensor>& betas,
                             const std::optional<KnownEnergy>& known) const {
  // An energy may reuse its memory.
  const auto copied = [](const at::Tensor& energies) {
    return energies.detach().to(at::kDouble, false, /*copy=*/true);
  };
  if (const auto first = tempered(x, betas.front())) {
    std::vector<at::Tensor> values{copied(*first)};
    for (size_t k = 1; k < betas.size(); ++k) values.push_back(copied(value(x, betas[k])));
    return at::stack(values);
  }
  at::Tensor energies;
  if (!known) energies = copied(value(x));
  const auto base = base_energy(x);
  if (known) energies = without_beta(*known, base);
  at::Tensor beta = at::stack(betas);
  if (beta.dim() == 1) beta = beta.unsqueeze(1);
  return at_beta(energies, base, beta).detach();
}

std::tuple<at::Tensor, at::Tensor> Energy::value_and_score(
    const at::Tensor& x, const std::optional<at::Tensor>& beta) const {
  const auto untempered = [&] {
    return guarded(Part::kScore, x, [&] { return checked_score(*function_, x); });
  };
  if (!beta) return untempered();
  {
    const detail::InnerGradMode grad_mode;
    const at::Tensor leaf = leaf_like(x);
    if (const auto energies = tempered(leaf, *beta)) return differentiate(*energies, leaf);
  }
  const auto [energies, score] = untempered();
  const at::Tensor scaled = score * detail::per_chain(*beta, score);
  const auto base = base_and_score(x);
  if (!base) return {at_beta(energies, std::nullopt, *beta), scaled};
  const auto& [base_energies, base_score] = *base;
  return {at_beta(energies, base_energies, *beta),
          scaled + base_score * detail::per_chain(1 - *beta, score)};
}

std::optional<at::Tensor> Energy::gibbs(const at::Tensor& x, const RunOptions& run,
                                        const std::optional<at::Tensor>& clamp) const {
  return own_states(
      "gibbs",
      guarded(Part::kGibbs, x, [&] { return function_->gibbs(x, in_dtype_of(x, run), clamp); }), x);
}

std::optional<at::Tensor> Energy::random_scan_gibbs(const at::Tensor& x, const RunOptions& run,
                                                    const std::optional<at::Tensor>& clamp) const {
  return own_states(
      "random_scan_gibbs",
      guarded(Part::kRandomScan, x,
              [&] { return function_->random_scan_gibbs(x, in_dtype_of(x, run), clamp); }),
      x);
}

std::optional<at::Tensor> Energy::categorical_gibbs(const at::Tensor& x, const RunOptions& run,
                                                    const std::optional<at::Tensor>& clamp) const {
  return own_states(
      "categorical_gibbs",
      guarded(Part::kCategoricalGibbs, x,
              [&] { return function_->categorical_gibbs(x, in_dtype_of(x, run), clamp); }),
      x);
}

std::optional<std::tuple<at::Tensor, at::Tensor>> Energy::gibbs_with_gradients(
    const at::Tensor& x, const RunOptions& run) const {
  const auto result = guarded(Part::kGibbsWithGradients, x, [&] {
    return function_->gibbs_with_gradients(x, in_dtype_of(x, run));
  });
  if (!result) return std::nullopt;
  const auto& [states, acceptance_rate] = *result;
  check_own_states("gibbs_with_gradients", states, x);
  const char* what = "the acceptance rate of its gibbs_with_gradients";
  detail::check_floating("energy", what, acceptance_rate);
  detail::check_shape("energy", what, acceptance_rate, {x.size(0)}, "(N,)");
  return std::tuple(states.detach(), acceptance_rate.detach().to(x.device(), at::kDouble));
}

std::optional<at::Tensor> Energy::flip_differences(const at::Tensor& x,
                                                   const std::optional<at::Tensor>& sites) const {
  TORCH_CHECK_VALUE(x.dim() >= 1, "energy: x must have shape (N, ...), got ()");
  detail::check_sites("energy", sites, x);
  const auto differences =
      guarded(Part::kFlips, x, [&] { return function_->flip_differences(x, sites); });
  if (!differences) return std::nullopt;
  const char* what = "what its flip_differences returns";
  detail::check_floating("energy", what, *differences);
  const int64_t n_sites = sites ? sites->size(1) : c10::multiply_integers(x.sizes().slice(1));
  detail::check_shape("energy", what, *differences, {x.size(0), n_sites}, "(N, sites)");
  return differences;
}

std::optional<Energy> Energy::in_field(const at::Tensor& field) const {
  auto function = function_->in_field(field);
  if (!function) return std::nullopt;
  return Energy(std::move(function));
}

namespace {

at::Tensor energy_at_op(const c10::IValue& energy, const at::Tensor& x,
                        const std::optional<at::Tensor>& beta) {
  constexpr const char* kOp = "_energy_at";
  detail::check_floating(kOp, "x", x);
  detail::check_chains(kOp, "x", x);
  std::optional<at::Tensor> checked;
  if (beta) checked = detail::checked_beta(kOp, beta, x.to(at::kDouble));
  const detail::NoGradMode no_grad;
  // A copy of x: an energy may change it before that is noticed.
  return Energy::from_ivalue(kOp, energy)
      .value(x.clone(), checked)
      .detach()
      .to(at::kDouble, false, true);
}

}  // namespace

TORCH_EBM_DRIVER("_energy_at", &energy_at_op)

}  // namespace torch_ebm
