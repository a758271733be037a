#include "torch_ebm/samplers/warm_up.h"

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/adaptation.h"
#include "csrc/samplers/transitions.h"

namespace torch_ebm {

namespace {

constexpr const char* kWarmUp = "warm_up";

at::Tensor number(double value) {
  return at::full({}, value, at::TensorOptions().dtype(at::kDouble));
}

double checked_target(const std::string& sampler, const WarmUpOptions& options) {
  const double target = options.target_acceptance.value_or(sampler == "mala" ? 0.574 : 0.8);
  TORCH_CHECK_VALUE(target > 0 && target < 1, kWarmUp,
                    ": target_acceptance must be in (0, 1), got ", target);
  return target;
}

void check(const std::string& sampler, const WarmUpOptions& options) {
  TORCH_CHECK_VALUE(sampler == "mala" || sampler == "hmc" || sampler == "nuts", kWarmUp,
                    ": sampler must be \"mala\", \"hmc\" or \"nuts\", got \"", sampler, "\"");
  detail::check_at_least(kWarmUp, "n_steps", options.n_steps, 20);
  detail::check_at_least(kWarmUp, "n_leapfrog", options.n_leapfrog, 1);
  detail::check_max_depth(kWarmUp, options.max_depth);
}

/// A leapfrog step size at which the mean acceptance of one step crosses 0.8, by doubling or
/// halving (Hoffman & Gelman 2014, algorithm 4, with Stan's threshold).
double rough_step_size(const detail::ChainRun& chains, const detail::Hamiltonian& hamiltonian,
                       detail::PhasePoint start, double step_size) {
  constexpr uint32_t kMostTries = 64;
  double factor = 1;
  for (uint32_t i = 0; i < kMostTries; ++i) {
    hamiltonian.draw_momentum(start, chains.draw(detail::kSearch + i));
    const detail::PhasePoint end = hamiltonian.leapfrog(start, number(step_size));
    const at::Tensor log_ratio = start.total() - end.total();
    const at::Tensor accepted = detail::acceptance_probability(log_ratio, end.energy);
    const double wanted = accepted.mean().item<double>() > 0.8 ? 2 : 0.5;
    if (factor != 1 && wanted != factor) break;
    factor = wanted;
    step_size *= factor;
  }
  return step_size;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> warm_up_op(
    const c10::IValue& energy, const at::Tensor& x, const std::string& sampler, int64_t n_steps,
    std::optional<double> target_acceptance, int64_t n_leapfrog, int64_t max_depth,
    const std::optional<at::Tensor>& beta, std::optional<at::Generator> generator) {
  WarmUp result =
      warm_up(Energy::from_ivalue(kWarmUp, energy), x, sampler,
              {n_steps, target_acceptance, n_leapfrog, max_depth, beta, std::move(generator)});
  return {result.x, result.step_size, result.inverse_mass};
}

}  // namespace

WarmUp warm_up(const Energy& energy, const at::Tensor& x, const std::string& sampler,
               const WarmUpOptions& options) {
  check(sampler, options);
  detail::DualAveraging step_size(checked_target(sampler, options));
  detail::ChainRun chains(
      kWarmUp, x,
      {.n_steps = options.n_steps, .beta = options.beta, .generator = options.generator});
  detail::Hamiltonian hamiltonian(kWarmUp, energy, chains, std::nullopt);
  detail::PhasePoint current = hamiltonian.start();
  const detail::Windows windows(options.n_steps);
  detail::PooledVariance variance;

  const Samples samples = chains.run([&](int64_t step) {
    if (step == 0) step_size.restart(rough_step_size(chains, hamiltonian, current, 1));
    const at::Tensor tried = number(step_size.step_size());
    const at::Tensor acceptance =
        sampler == "nuts"
            ? detail::nuts_transition(chains, hamiltonian, current, tried, options.max_depth)
            : detail::hmc_transition(chains, hamiltonian, current, tried,
                                     sampler == "hmc" ? options.n_leapfrog : 1);
    step_size.update(acceptance.mean().item<double>());
    if (windows.collects(step)) variance.add(current.x);
    if (windows.ends_with(step)) {
      hamiltonian.set_inverse_mass(variance.regularised().to(x.options()));
      variance = {};
      step_size.restart(rough_step_size(chains, hamiltonian, current, step_size.mean_step_size()));
    }
    return acceptance;
  });

  const double leapfrog = step_size.mean_step_size();
  TORCH_CHECK_VALUE(at::isfinite(hamiltonian.inverse_mass()).all().item<bool>() && leapfrog > 0,
                    kWarmUp, ": the variances of the states did not stay finite in ",
                    x.scalar_type(),
                    "; likely the energy does not confine them at this temperature");
  // MALA takes half the square of the leapfrog step.
  return {samples.x, number(sampler == "mala" ? leapfrog * leapfrog / 2 : leapfrog),
          hamiltonian.inverse_mass()};
}

TORCH_EBM_DRIVER("warm_up", &warm_up_op)

}  // namespace torch_ebm
