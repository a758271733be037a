#include "torch_ebm/langevin.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/chain_run.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "langevin";

void check_options(const LangevinOptions& options) {
  TORCH_CHECK_VALUE(options.noise_scale >= 0 && std::isfinite(options.noise_scale), kOp,
                    ": noise_scale must be >= 0 and finite, got ", options.noise_scale);
  TORCH_CHECK_VALUE(options.max_score > 0, kOp, ": max_score must be > 0, got ", options.max_score);
  TORCH_CHECK_VALUE(options.low < options.high, kOp, ": low must be below high, got ", options.low,
                    " and ", options.high);
}

at::Tensor checked_score(const Energy& energy, const detail::ChainRun& chains, int64_t step) {
  const at::Tensor score = std::get<1>(energy.value_and_score(chains.x, chains.beta)).contiguous();
  detail::check_chains_finite(kOp, "score", score, step);
  return score;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> langevin_op(
    const c10::IValue& energy, const at::Tensor& x, const c10::IValue& step_size,
    double noise_scale, std::optional<double> max_score, std::optional<double> low,
    std::optional<double> high, int64_t n_steps, const std::optional<at::Tensor>& beta,
    int64_t thin, bool inplace, std::optional<at::Generator> generator) {
  LangevinOptions options{.step_size = StepSize::from_ivalue(kOp, step_size),
                          .noise_scale = noise_scale};
  if (max_score) options.max_score = *max_score;
  if (low) options.low = *low;
  if (high) options.high = *high;
  return detail::as_tuple(langevin(Energy::from_ivalue(kOp, energy), x,
                                   {n_steps, beta, thin, inplace, std::move(generator)}, options));
}

}  // namespace

Samples langevin(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                 const LangevinOptions& options) {
  detail::ChainRun chains(kOp, x, run);
  options.step_size.check(kOp, chains.n_chains(), run.n_steps);
  check_options(options);
  detail::check_finite(kOp, "x", x);
  at::Tensor score = checked_score(energy, chains, 0);

  return chains.run([&](int64_t step) {
    if (step > 0) score = checked_score(energy, chains, step);
    const at::Tensor step_size = options.step_size.at(step);
    const at::Tensor noise = detail::normal_like(chains.x, chains.draw(detail::kNoise));
    const at::Tensor drift = detail::per_chain(step_size, chains.x);
    const at::Tensor scale =
        detail::per_chain((2 * step_size).sqrt() * options.noise_scale, chains.x);
    const at::Tensor next =
        chains.x.add(score.clamp(-options.max_score, options.max_score).mul_(drift))
            .add_(noise.mul_(scale))
            .clamp_(options.low, options.high);
    detail::check_chains_finite(kOp, "state", next, step + 1);
    chains.x = next;
    return at::Tensor();
  });
}

TORCH_EBM_DRIVER("langevin", &langevin_op)

}  // namespace torch_ebm
