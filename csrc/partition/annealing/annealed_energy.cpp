#include "torch_ebm/partition/annealing/annealed_energy.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/per_chain.h"
#include "csrc/energy/held_energies.h"

namespace torch_ebm {

namespace {

class AnnealedEnergy : public EnergyFunction {
 public:
  AnnealedEnergy(Energy energy, NoiseDistribution base)
      : energy_(std::move(energy)), base_(std::move(base)) {}

  at::Tensor value(const at::Tensor& x) const override { return energy_.value(x); }

  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override {
    return energy_.value_and_score(x);
  }

  bool has_path(const at::Tensor&) const override { return true; }

  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    return -base_.log_prob(x);
  }

  std::optional<at::Tensor> flip_differences(
      const at::Tensor& x, const std::optional<at::Tensor>& sites) const override {
    return energy_.flip_differences(x, sites);
  }

  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override {
    return own_gibbs(&Energy::gibbs, x, run, clamp);
  }

  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override {
    return own_gibbs(&Energy::random_scan_gibbs, x, run, clamp);
  }

  std::optional<at::Tensor> categorical_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override {
    return own_gibbs(&Energy::categorical_gibbs, x, run, clamp);
  }

  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const override {
    const auto own = at_temperature(x, run);
    if (!own) return std::nullopt;
    const auto result = own->energy.gibbs_with_gradients(own->x, own->run);
    if (!result) return std::nullopt;
    return std::tuple(std::get<0>(*result).to(x.options()), std::get<1>(*result));
  }

 private:
  std::optional<at::Tensor> own_gibbs(decltype(&Energy::gibbs) gibbs, const at::Tensor& x,
                                      const RunOptions& run,
                                      const std::optional<at::Tensor>& clamp) const {
    const auto own = at_temperature(x, run);
    if (!own) return std::nullopt;
    const auto states = (own->energy.*gibbs)(own->x, own->run, clamp);
    return states ? std::optional(states->to(x.options())) : std::nullopt;
  }

  struct OwnSampler {
    Energy energy;
    at::Tensor x;
    RunOptions run;
  };

  /// The energy whose own samplers leave the path invariant at run.beta, and how to call them. beta E + (1 - beta)
  /// E_0 is, up to a constant, beta (E - field.x) with field = (1 - beta) / beta logits.
  std::optional<OwnSampler> at_temperature(const at::Tensor& x, RunOptions run) const {
    constexpr double kLeastBeta = 1e-20;  // in place of 0: 1e20 times a logit is still a float
    if (!run.beta || run.beta->eq(1).all().item<bool>()) {
      run.beta = std::nullopt;
      return OwnSampler{energy_, x, run};
    }
    if (!base_.logits || base_.logits->sizes() != x.sizes().slice(1)) return std::nullopt;
    const at::Tensor states = x.to(at::promote_types(x.scalar_type(), at::kFloat));
    const at::Tensor beta = run.beta->to(states.options()).clamp_min(kLeastBeta);
    const at::Tensor times = (1 - beta) / beta;
    const at::Tensor field = base_.logits->detach().to(states.options()) *
                             (times.dim() == 0 ? times : detail::per_chain(times, states));
    const auto energy = energy_.in_field(field);
    if (!energy) return std::nullopt;
    run.beta = beta;
    return OwnSampler{*energy, states, run};
  }

  Energy energy_;
  NoiseDistribution base_;
};

/// Log probabilities (N,) of x, (N, ...), under independent binary units with these log odds; -inf for other states.
at::Tensor bernoulli_log_prob(const at::Tensor& x, const at::Tensor& logits) {
  TORCH_CHECK_VALUE(x.dim() >= 1 && logits.sizes() == x.sizes().slice(1),
                    "annealed_energy: base must be a distribution of states like those of x, ",
                    detail::describe_shape(x.sizes()), ", got ",
                    detail::describe_shape(logits.sizes()));
  const at::Tensor odds = logits.to(x.options()).expand_as(x);
  const at::Tensor of_sites =
      at::binary_cross_entropy_with_logits(odds, x, {}, {}, at::Reduction::None);
  const at::Tensor log_prob = -of_sites.flatten(1).sum(1);
  return log_prob.masked_fill((x.ne(0) & x.ne(1)).flatten(1).any(1), -INFINITY);
}

/// The base is given as the log odds of independent binary units, or, without them, as its energy.
int64_t hold_annealed_energy(const c10::IValue& energy, const std::optional<at::Tensor>& logits,
                             const c10::IValue& base) {
  constexpr const char* kOp = "annealed_energy";
  NoiseDistribution distribution;
  if (logits) {
    distribution.logits = logits;
    distribution.log_prob = [odds = *logits](const at::Tensor& x) {
      return bernoulli_log_prob(x, odds);
    };
  } else {
    distribution.log_prob = [energy = Energy::from_ivalue(kOp, base)](const at::Tensor& x) {
      return -energy.value(x);
    };
  }
  return detail::hold(
      std::make_shared<AnnealedEnergy>(Energy::from_ivalue(kOp, energy), std::move(distribution)));
}

}  // namespace

Energy annealed_energy(const Energy& energy, const NoiseDistribution& base) {
  TORCH_CHECK_VALUE(base.log_prob, "annealed_energy: the base must have a log_prob");
  return Energy(std::make_shared<AnnealedEnergy>(energy, base));
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("_hold_annealed_energy", &hold_annealed_energy);
}

}  // namespace torch_ebm
