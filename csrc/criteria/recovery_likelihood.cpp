#include "torch_ebm/criteria/recovery_likelihood.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/draws.h"
#include "csrc/samplers/any_sampler.h"

namespace torch_ebm {

namespace {

constexpr const char* kRecoveryLikelihood = "recovery_likelihood";

void check_sigma(const char* op, double sigma) {
  TORCH_CHECK_VALUE(sigma > 0 && std::isfinite(sigma), op, ": sigma must be > 0 and finite, got ",
                    sigma);
}

class RecoveryEnergy : public EnergyFunction {
 public:
  RecoveryEnergy(Energy energy, const at::Tensor& noisy, double sigma)
      : energy_(std::move(energy)),
        noisy_(noisy.detach().clone()),
        precision_(1 / (sigma * sigma)) {}

  at::Tensor value(const at::Tensor& x) const override {
    return energy_.value(x) + quadratic(displacement(x));
  }

  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override {
    const at::Tensor d = displacement(x);
    const auto [energies, score] = energy_.value_and_score(x);
    return {energies + quadratic(d), score + precision_ * d};
  }

 private:
  at::Tensor displacement(const at::Tensor& x) const {
    const int64_t n = noisy_.size(0);
    TORCH_CHECK_VALUE(x.dim() == noisy_.dim() && x.sizes().slice(1) == noisy_.sizes().slice(1) &&
                          x.size(0) % n == 0,
                      "recovery_energy: x must have the shape of noisy, ",
                      detail::describe_shape(noisy_.sizes()), ", or a multiple of its rows, got ",
                      detail::describe_shape(x.sizes()));
    if (x.size(0) == n) return noisy_ - x;
    std::vector<int64_t> repeats(x.dim(), 1);
    repeats[0] = x.size(0) / n;
    return noisy_.repeat(repeats) - x;
  }

  at::Tensor quadratic(const at::Tensor& displacement) const {
    return precision_ / 2 * displacement.square().reshape({displacement.size(0), -1}).sum(1);
  }

  Energy energy_;
  at::Tensor noisy_;
  double precision_;
};

/// A draw from p(. | x~) for each example, as exact as the sampler.
at::Tensor recovered(const Energy& energy, const detail::Criterion& examples,
                     const RecoveryLikelihoodOptions& options) {
  const detail::NoGradMode no_grad;
  const at::Tensor noise =
      detail::Draws(examples.generator, examples.x).normal(examples.x, detail::kNoise);
  const at::Tensor noisy = examples.x + options.sigma * noise;
  const at::Tensor beta = at::ones({}, noisy.options().dtype(at::kDouble));
  return detail::moved(kRecoveryLikelihood, options.sampler,
                       recovery_energy(energy, noisy, options.sigma), noisy, beta,
                       examples.generator)
      .x;
}

at::Tensor recovery_likelihood_op(const c10::IValue& energy, const at::Tensor& x, double sigma,
                                  const c10::IValue& sampler,
                                  const std::optional<at::Tensor>& weights,
                                  c10::string_view reduction,
                                  std::optional<at::Generator> generator) {
  return recovery_likelihood(Energy::from_ivalue(kRecoveryLikelihood, energy), x,
                             {weights, std::string(reduction), std::move(generator)},
                             {sigma, Sampler::from_ivalue(kRecoveryLikelihood, sampler)});
}

}  // namespace

Energy recovery_energy(const Energy& energy, const at::Tensor& noisy, double sigma) {
  constexpr const char* kName = "recovery_energy";
  detail::check_floating(kName, "noisy", noisy);
  detail::check_chains(kName, "noisy", noisy);
  detail::check_finite(kName, "noisy", noisy);
  check_sigma(kName, sigma);
  return Energy(std::make_shared<RecoveryEnergy>(energy, noisy, sigma));
}

at::Tensor recovery_likelihood(const Energy& energy, const at::Tensor& x,
                               const CriterionOptions& criterion,
                               const RecoveryLikelihoodOptions& options) {
  const detail::Criterion examples(kRecoveryLikelihood, x, criterion);
  check_sigma(kRecoveryLikelihood, options.sigma);
  TORCH_CHECK_VALUE(options.sampler, kRecoveryLikelihood, ": sampler must not be empty");
  const at::Tensor negative = recovered(energy, examples, options);
  const at::Tensor of_data = energy.value(examples.x).clone();  // the energy may reuse its memory
  return examples.reduce(of_data - energy.value(negative));
}

TORCH_EBM_CRITERION("recovery_likelihood", &recovery_likelihood_op)

}  // namespace torch_ebm
