#include "torch_ebm/criteria/conditional_nce.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/criteria/draws.h"
#include "csrc/criteria/noise.h"

namespace torch_ebm {

namespace {

constexpr const char* kConditionalNce = "conditional_nce";

at::Tensor gaussian_noise(const detail::Criterion& examples, double sigma, int64_t n_noise) {
  TORCH_CHECK_VALUE(std::isfinite(sigma) && sigma > 0, kConditionalNce,
                    ": sigma must be finite and > 0, got ", sigma);
  detail::check_at_least(kConditionalNce, "n_noise", n_noise, 1);
  const at::Tensor x = examples.x.unsqueeze(1);
  const at::Tensor several = at::repeat_interleave(x, n_noise, 1);
  return several +
         sigma * detail::Draws(examples.generator, several).normal(several, detail::kNoise);
}

/// Checks `noise` and its log_ratio.
at::Tensor checked_noise(const detail::Criterion& examples, const ConditionalNceOptions& options) {
  detail::check_noise(examples, *options.noise);
  if (detail::given(options.log_ratio)) {
    detail::check_log_densities(kConditionalNce, "log_ratio", *options.log_ratio,
                                {examples.n_examples(), options.noise->size(1)}, "(N, n_noise)");
  }
  return *options.noise;
}

at::Tensor noise_of(const detail::Criterion& examples, const ConditionalNceOptions& options) {
  TORCH_CHECK_VALUE(options.sigma.has_value() != detail::given(options.noise), kConditionalNce,
                    ": either sigma or noise must be given, got ",
                    options.sigma ? "both" : "neither");
  TORCH_CHECK_VALUE(!options.sigma || !detail::given(options.log_ratio), kConditionalNce,
                    ": log_ratio must be left out with sigma, whose noise is symmetric");
  TORCH_CHECK_VALUE(options.sigma || !options.n_noise, kConditionalNce,
                    ": n_noise must be left out with noise, whose shape gives it");
  if (options.sigma) return gaussian_noise(examples, *options.sigma, options.n_noise.value_or(1));
  return checked_noise(examples, options);
}

at::Tensor conditional_nce_op(const c10::IValue& energy, const at::Tensor& x,
                              std::optional<double> sigma, std::optional<int64_t> n_noise,
                              const std::optional<at::Tensor>& noise,
                              const std::optional<at::Tensor>& log_ratio,
                              const std::optional<at::Tensor>& weights, c10::string_view reduction,
                              std::optional<at::Generator> generator) {
  return conditional_nce(Energy::from_ivalue(kConditionalNce, energy), x,
                         {weights, std::string(reduction), std::move(generator)},
                         {sigma, n_noise, noise, log_ratio});
}

}  // namespace

at::Tensor conditional_nce(const Energy& energy, const at::Tensor& x,
                           const CriterionOptions& criterion,
                           const ConditionalNceOptions& options) {
  const detail::Criterion examples(kConditionalNce, x, criterion);
  const at::Tensor noise = noise_of(examples, options);
  const at::Tensor energies = detail::energies_beside_noise(examples, energy, noise);
  at::Tensor g = energies.narrow(1, 1, noise.size(1)) - energies.narrow(1, 0, 1);
  if (detail::given(options.log_ratio)) g = g + options.log_ratio->to(g.options());
  return examples.reduce(-2 * at::log_sigmoid(g).mean(1));
}

TORCH_EBM_CRITERION("conditional_nce", &conditional_nce_op)

}  // namespace torch_ebm
