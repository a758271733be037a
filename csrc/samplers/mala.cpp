#include "torch_ebm/samplers/mala.h"

#include "csrc/common/operator.h"
#include "csrc/samplers/transitions.h"

namespace torch_ebm {

namespace {

constexpr const char* kMala = "mala";

detail::SamplesTuple mala_op(const c10::IValue& energy, const at::Tensor& x,
                             const c10::IValue& step_size,
                             const std::optional<at::Tensor>& inverse_mass, int64_t n_steps,
                             const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
                             std::optional<at::Generator> generator) {
  return detail::as_tuple(mala(Energy::from_ivalue(kMala, energy), x,
                               {n_steps, beta, thin, inplace, std::move(generator)},
                               {StepSize::from_ivalue(kMala, step_size), inverse_mass}));
}

}  // namespace

Samples mala(const Energy& energy, const at::Tensor& x, const RunOptions& run,
             const MALAOptions& options) {
  detail::ChainRun chains(kMala, x, run);
  options.step_size.check(kMala, chains.n_chains(), run.n_steps);
  const detail::Hamiltonian hamiltonian(kMala, energy, chains, options.inverse_mass);
  detail::PhasePoint current = hamiltonian.start();

  // The proposal is the end of one leapfrog step of size sqrt(2 step_size), and the Metropolis-Hastings ratio that
  // of its total energies (Neal 2011, section 5.2).
  return chains.run([&](int64_t step) {
    const at::Tensor step_size = (2 * options.step_size.at(step)).sqrt();
    return detail::hmc_transition(chains, hamiltonian, current, step_size, 1);
  });
}

TORCH_EBM_DRIVER("mala", &mala_op)

}  // namespace torch_ebm
