#include "torch_ebm/samplers/tempered_transitions.h"

#include "csrc/common/operator.h"
#include "csrc/samplers/any_sampler.h"
#include "csrc/samplers/chain_run.h"
#include "csrc/samplers/ladder.h"

namespace torch_ebm {

namespace {

constexpr const char* kTemperedTransitions = "tempered_transitions";

detail::SamplesTuple tempered_transitions_op(const c10::IValue& energy, const at::Tensor& x,
                                             const at::Tensor& betas, const c10::IValue& sampler,
                                             int64_t n_steps, int64_t thin, bool inplace,
                                             std::optional<at::Generator> generator) {
  return detail::as_tuple(tempered_transitions(
      Energy::from_ivalue(kTemperedTransitions, energy), x, betas,
      Sampler::from_ivalue(kTemperedTransitions, sampler),
      {.n_steps = n_steps, .thin = thin, .inplace = inplace, .generator = std::move(generator)}));
}

}  // namespace

Samples tempered_transitions(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                             const Sampler& sampler, const RunOptions& run) {
  const at::Tensor ladder = detail::checked_ladder(kTemperedTransitions, betas).to(x.device());
  detail::check_no_beta(kTemperedTransitions, run);
  detail::ChainRun chains(kTemperedTransitions, x, run);
  const int64_t top = ladder.size(0) - 1;
  // E at `rung` minus E at the rung below it: what a chain pays going up from there, and gets back
  // coming down.
  const auto rise = [&](const at::Tensor& states, int64_t rung) {
    const at::Tensor energies = energy.values_at(states, {ladder[rung], ladder[rung - 1]});
    return energies[0] - energies[1];
  };
  const auto move = [&](const at::Tensor& states, int64_t rung) {
    return detail::moved(kTemperedTransitions, sampler, energy, states, ladder[rung], run.generator)
        .x;
  };

  return chains.run([&](int64_t) {
    at::Tensor states = chains.x;
    at::Tensor log_ratio = at::zeros({chains.n_chains()}, ladder.options());
    for (int64_t rung = 1; rung <= top; ++rung) {
      log_ratio = log_ratio - rise(states, rung);
      states = move(states, rung);
    }
    for (int64_t rung = top; rung >= 1; --rung) {
      states = move(states, rung);
      log_ratio = log_ratio + rise(states, rung);
    }
    const auto decision = detail::metropolis(log_ratio, log_ratio, chains.uniform(detail::kAccept));
    chains.x = decision.choose(states, chains.x);
    return decision.probability;
  });
}

TORCH_EBM_DRIVER("tempered_transitions", &tempered_transitions_op)

}  // namespace torch_ebm
