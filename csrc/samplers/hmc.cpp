#include "torch_ebm/samplers/hmc.h"

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/transitions.h"

namespace torch_ebm {

namespace {

constexpr const char* kHmc = "hmc";

/// How many leapfrog steps this transition takes. Drawn as if for chain 0, so that it depends on the step alone.
int64_t path_length(const HMCOptions& options, kernels::Draw draw) {
  if (options.jitter == 0) return options.n_leapfrog;
  const auto n = static_cast<double>(options.n_leapfrog);
  const auto least = std::max<int64_t>(1, std::llround(std::ceil(n * (1 - options.jitter))));
  const auto most = std::max<int64_t>(least, std::llround(std::floor(n * (1 + options.jitter))));
  const double u = passes::uniform_like(at::empty({1, 1}, at::kDouble), draw).item<double>();
  return least + static_cast<int64_t>(u * static_cast<double>(most - least + 1));
}

detail::SamplesTuple hmc_op(const c10::IValue& energy, const at::Tensor& x,
                            const c10::IValue& step_size, int64_t n_leapfrog, double jitter,
                            const std::optional<at::Tensor>& inverse_mass, int64_t n_steps,
                            const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
                            std::optional<at::Generator> generator) {
  return detail::as_tuple(hmc(
      Energy::from_ivalue(kHmc, energy), x, {n_steps, beta, thin, inplace, std::move(generator)},
      {StepSize::from_ivalue(kHmc, step_size), n_leapfrog, jitter, inverse_mass}));
}

}  // namespace

at::Tensor detail::hmc_transition(ChainRun& chains, const Hamiltonian& hamiltonian,
                                  PhasePoint& current, const at::Tensor& step_size,
                                  int64_t n_leapfrog) {
  hamiltonian.draw_momentum(current, chains.draw(kNoise));
  const at::Tensor total = current.total();
  PhasePoint end{current, std::move(current.momentum), {}};
  end = hamiltonian.leapfrog(std::move(end), step_size, n_leapfrog);
  const auto decision = metropolis(total - end.total(), end.energy, chains.uniform(kAccept));
  current.momentum = std::move(end.momentum);  // only as memory for the next one
  static_cast<Position&>(current) =
      where_chains(decision.accepted, Position(std::move(end)), current);
  chains.x = current.x;
  chains.energy = current.energy;
  return decision.probability;
}

Samples hmc(const Energy& energy, const at::Tensor& x, const RunOptions& run,
            const HMCOptions& options) {
  detail::ChainRun chains(kHmc, x, run);
  options.step_size.check(kHmc, chains.n_chains(), run.n_steps);
  detail::check_at_least(kHmc, "n_leapfrog", options.n_leapfrog, 1);
  TORCH_CHECK_VALUE(options.jitter >= 0 && options.jitter < 1, kHmc,
                    ": jitter must be in [0, 1), got ", options.jitter);
  const detail::Hamiltonian hamiltonian(kHmc, energy, chains, options.inverse_mass);
  detail::PhasePoint current = hamiltonian.start();

  return chains.run([&](int64_t step) {
    const int64_t n_leapfrog = path_length(options, chains.draw(detail::kPath));
    return detail::hmc_transition(chains, hamiltonian, current, options.step_size.at(step),
                                  n_leapfrog);
  });
}

TORCH_EBM_DRIVER("hmc", &hmc_op)

}  // namespace torch_ebm
