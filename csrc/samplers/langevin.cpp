#include "torch_ebm/samplers/langevin.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/passes/langevin.h"
#include "csrc/samplers/chain_run.h"

namespace torch_ebm {

namespace {

constexpr const char* kLangevin = "langevin";
constexpr const char* kUpdate = "langevin_update";

void check_noise_scale(const char* op, double noise_scale) {
  TORCH_CHECK_VALUE(noise_scale >= 0 && std::isfinite(noise_scale), op,
                    ": noise_scale must be >= 0 and finite, got ", noise_scale);
}

void check_options(const LangevinOptions& options) {
  check_noise_scale(kLangevin, options.noise_scale);
  TORCH_CHECK_VALUE(options.max_score > 0, kLangevin, ": max_score must be > 0, got ",
                    options.max_score);
  TORCH_CHECK_VALUE(options.low < options.high, kLangevin, ": low must be below high, got ",
                    options.low, " and ", options.high);
}

at::Tensor score_of(const Energy& energy, const detail::ChainRun& chains) {
  return std::get<1>(energy.value_and_score(chains.x, chains.beta)).contiguous();
}

detail::SamplesTuple langevin_op(const c10::IValue& energy, const at::Tensor& x,
                                 const c10::IValue& step_size, double noise_scale,
                                 std::optional<double> max_score, std::optional<double> low,
                                 std::optional<double> high, int64_t n_steps,
                                 const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
                                 std::optional<at::Generator> generator) {
  LangevinOptions options{.step_size = StepSize::from_ivalue(kLangevin, step_size),
                          .noise_scale = noise_scale};
  if (max_score) options.max_score = *max_score;
  if (low) options.low = *low;
  if (high) options.high = *high;
  return detail::as_tuple(langevin(Energy::from_ivalue(kLangevin, energy), x,
                                   {n_steps, beta, thin, inplace, std::move(generator)}, options));
}

void check_update(const at::Tensor& x, const at::Tensor& score, double step_size,
                  double noise_scale) {
  detail::check_floating(kUpdate, "x", x);
  detail::check_same_type(kUpdate, "score", score, "x", x);
  TORCH_CHECK_VALUE(score.sym_sizes() == x.sym_sizes(), kUpdate,
                    ": score must have the shape of x, ", x.sym_sizes(), ", got ",
                    score.sym_sizes());
  TORCH_CHECK_VALUE(step_size > 0 && std::isfinite(step_size), kUpdate,
                    ": step_size must be > 0 and finite, got ", step_size);
  check_noise_scale(kUpdate, noise_scale);
}

at::Tensor update_kernel(const at::Tensor& x, const at::Tensor& score, double step_size,
                         double noise_scale, std::optional<at::Generator> generator) {
  constexpr double kNoBound = std::numeric_limits<double>::infinity();
  const at::NoGradGuard no_grad;
  check_update(x, score, step_size, noise_scale);
  detail::check_chains(kUpdate, "x", x);
  const uint64_t key = detail::draw_key(generator, x.device());
  passes::Flag not_finite;
  at::Tensor next = passes::langevin_update(
      x.contiguous(), score.contiguous(), at::full({}, step_size, at::kDouble),
      at::full({}, std::sqrt(2 * step_size) * noise_scale, at::kDouble), kNoBound, -kNoBound,
      kNoBound, {key, 0, detail::kNoise}, not_finite);
  if (not_finite.read()) {
    detail::check_chains_finite(kUpdate, "state", x, 0);
    detail::check_chains_finite(kUpdate, "score", score, 0);
    detail::check_chains_finite(kUpdate, "state", next, 1);
  }
  return next;
}

at::Tensor update_meta(const at::Tensor& x, const at::Tensor& score, double step_size,
                       double noise_scale, std::optional<at::Generator>) {
  check_update(x, score, step_size, noise_scale);
  return at::empty_symint(x.sym_sizes(), x.options());
}

}  // namespace

Samples langevin(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                 const LangevinOptions& options) {
  detail::ChainRun chains(kLangevin, x, run);
  options.step_size.check(kLangevin, chains.n_chains(), run.n_steps);
  check_options(options);
  detail::check_finite(kLangevin, "x", x);
  at::Tensor score = score_of(energy, chains);
  detail::check_chains_finite(kLangevin, "score", score, 0);

  return chains.run([&](int64_t step) {
    if (step > 0) score = score_of(energy, chains);
    const at::Tensor step_size = options.step_size.at(step);
    const at::Tensor noise = (2 * step_size).sqrt() * options.noise_scale;
    passes::Flag not_finite;
    const at::Tensor next =
        passes::langevin_update(chains.x, score, step_size, noise, options.max_score, options.low,
                                options.high, chains.draw(detail::kNoise), not_finite);
    if (std::isfinite(options.max_score)) {  // clamping hides an infinite score
      chains.check_finite("score", score, step);
    } else {
      chains.check_finite("score", score, step, not_finite);
    }
    chains.check_finite("state", next, step + 1, not_finite);
    chains.x = chains.unless_noted(next);
    return at::Tensor();
  });
}

at::Tensor langevin_update(const at::Tensor& x, const at::Tensor& score, double step_size,
                           double noise_scale, std::optional<at::Generator> generator) {
  static const auto op =
      detail::find_operator<decltype(update_kernel)>("torch_ebm::langevin_update");
  return op.call(x, score, step_size, noise_scale, std::move(generator));
}

TORCH_EBM_DRIVER("langevin", &langevin_op)
// States have no gradient.
TORCH_EBM_NO_GRADIENT("langevin_update", &update_kernel, &update_meta)

}  // namespace torch_ebm
