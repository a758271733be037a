#pragma once
// The parts of the checks between which Python calls what its user wrote.

#include "torch_ebm/testing/testing.h"

namespace torch_ebm::testing {

/// The states after n_calls of the sampler on a copy of x. Without beta the sampler gets none.
at::Tensor run_sampler(const char* op, const Sampler& sampler, const Energy& energy,
                       const at::Tensor& x, std::optional<double> beta, int64_t n_calls,
                       const std::optional<at::Generator>& generator);

/// Replicas x (R, N, ...) from the exact distributions at R inverse temperatures, and these, (R, S).
struct ExactReplicas {
  at::Tensor x;
  at::Tensor laws;
};
ExactReplicas exact_replicas(const Energy& energy, const at::Tensor& states,
                             const std::vector<double>& betas, int64_t n_chains,
                             const std::optional<at::Generator>& generator);

/// Whether replicas still have the product of `laws`, rung by rung and for neighbours jointly.
Check check_replicas(const at::Tensor& x, const at::Tensor& states, const at::Tensor& laws);

}  // namespace torch_ebm::testing
