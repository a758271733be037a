#include "torch_ebm/samplers/underdamped_langevin.h"

#include <cmath>

#include "csrc/common/operator.h"
#include "csrc/samplers/hamiltonian.h"

namespace torch_ebm {

namespace {

constexpr const char* kUnderdampedLangevin = "underdamped_langevin";

detail::SamplesTuple underdamped_langevin_op(const c10::IValue& energy, const at::Tensor& x,
                                             const c10::IValue& step_size, double friction,
                                             const std::optional<at::Tensor>& inverse_mass,
                                             int64_t n_steps, const std::optional<at::Tensor>& beta,
                                             int64_t thin, bool inplace,
                                             std::optional<at::Generator> generator) {
  return detail::as_tuple(underdamped_langevin(
      Energy::from_ivalue(kUnderdampedLangevin, energy), x,
      {n_steps, beta, thin, inplace, std::move(generator)},
      {StepSize::from_ivalue(kUnderdampedLangevin, step_size), friction, inverse_mass}));
}

}  // namespace

Samples underdamped_langevin(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                             const UnderdampedLangevinOptions& options) {
  detail::ChainRun chains(kUnderdampedLangevin, x, run);
  options.step_size.check(kUnderdampedLangevin, chains.n_chains(), run.n_steps);
  TORCH_CHECK_VALUE(options.friction > 0 && std::isfinite(options.friction), kUnderdampedLangevin,
                    ": friction must be > 0 and finite, got ", options.friction);
  const detail::Hamiltonian hamiltonian(kUnderdampedLangevin, energy, chains, options.inverse_mass);
  detail::PhasePoint point = hamiltonian.start();

  return chains.run([&](int64_t step) {
    const at::Tensor half = options.step_size.at(step) / 2;
    const at::Tensor kept = (-2 * options.friction * half).exp();
    if (step == 0) hamiltonian.draw_momentum(point, chains.draw(detail::kStart));
    hamiltonian.kick_and_drift(point, point.score, half, half);  // B, A
    const at::Tensor slowed = point.momentum * detail::per_chain(kept, point.momentum);
    hamiltonian.draw_momentum(point, chains.draw(detail::kNoise));
    const at::Tensor noise = std::exchange(point.momentum, slowed);
    hamiltonian.kick_and_drift(point, noise, (1 - kept.square()).sqrt(), half);  // O, A
    chains.check_finite("state", point.x, step + 1);
    point.x = chains.unless_noted(point.x);
    static_cast<detail::Position&>(point) = hamiltonian.at(point.x);
    chains.check_finite("score", point.score, step + 1);
    hamiltonian.kick(point, half);  // B
    chains.x = chains.unless_noted(point.x);
    chains.energy = point.energy;
    return at::Tensor();
  });
}

TORCH_EBM_DRIVER("underdamped_langevin", &underdamped_langevin_op)

}  // namespace torch_ebm
