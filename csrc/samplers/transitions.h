#pragma once
// One transition of the samplers over Hamiltonian dynamics, with the step size as an argument:
// warm_up changes it.

#include "csrc/samplers/hamiltonian.h"

namespace torch_ebm::detail {

/// Each draws momenta and takes the chains from `current`, where they are, to the next position, and returns the
/// acceptance statistic, (N,), float64. step_size: that of a leapfrog step, () or (N,).
at::Tensor hmc_transition(ChainRun& chains, const Hamiltonian& hamiltonian, PhasePoint& current,
                          const at::Tensor& step_size, int64_t n_leapfrog);
at::Tensor nuts_transition(ChainRun& chains, const Hamiltonian& hamiltonian, PhasePoint& current,
                           const at::Tensor& step_size, int64_t max_depth);

/// Throws unless NUTS can double its trajectory this often.
void check_max_depth(const char* op, int64_t max_depth);

}  // namespace torch_ebm::detail
