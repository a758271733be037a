#include <torch/library.h>

#include "csrc/common/operator.h"
#include "csrc/testing/chains.h"

namespace torch_ebm::testing {

namespace {

using CheckParts = std::tuple<std::string, double, std::string>;

CheckParts parts(const Check& check) { return {check.what, check.p_value, check.detail}; }

CheckParts chi_square_op(const at::Tensor& counts, const at::Tensor& probabilities,
                         c10::string_view what) {
  return parts(chi_square_check(counts, probabilities, std::string(what)));
}

CheckParts mean_op(const at::Tensor& samples, const at::Tensor& mean, c10::string_view what) {
  return parts(mean_check(samples, mean, std::string(what)));
}

at::Tensor enumerate_states_op(at::IntArrayRef shape, int64_t n_states) {
  return enumerate_states(shape, at::kDouble, n_states);
}

at::Tensor exact_law_op(const c10::IValue& energy, const at::Tensor& states,
                        std::optional<double> beta) {
  return exact_law(Energy::from_ivalue("exact_law", energy), states, beta);
}

CheckParts invariance_op(const c10::IValue& sampler, const c10::IValue& energy,
                         const at::Tensor& states, std::optional<double> beta, int64_t n_chains,
                         int64_t n_calls, int64_t seed) {
  constexpr const char* kOp = "check_invariance";
  return parts(check_invariance(Sampler::from_ivalue(kOp, sampler),
                                Energy::from_ivalue(kOp, energy), states,
                                {.n_chains = n_chains,
                                 .n_calls = n_calls,
                                 .beta = beta,
                                 .seed = static_cast<uint64_t>(seed)}));
}

CheckParts convergence_op(const c10::IValue& sampler, const c10::IValue& energy,
                          const at::Tensor& states, int64_t start, std::optional<double> beta,
                          int64_t n_chains, int64_t n_calls, int64_t seed) {
  constexpr const char* kOp = "check_convergence";
  return parts(check_convergence(Sampler::from_ivalue(kOp, sampler),
                                 Energy::from_ivalue(kOp, energy), states,
                                 {.n_chains = n_chains,
                                  .n_calls = n_calls,
                                  .beta = beta,
                                  .seed = static_cast<uint64_t>(seed),
                                  .start = start}));
}

at::Tensor transition_counts_op(const c10::IValue& sampler, const c10::IValue& energy,
                                const at::Tensor& states, std::optional<double> beta,
                                int64_t n_chains, int64_t seed) {
  constexpr const char* kOp = "transition_counts";
  return transition_counts(
      Sampler::from_ivalue(kOp, sampler), Energy::from_ivalue(kOp, energy), states,
      {.n_chains = n_chains, .beta = beta, .seed = static_cast<uint64_t>(seed)});
}

CheckParts transitions_op(const at::Tensor& counts, const at::Tensor& transition_matrix) {
  return parts(check_transitions(counts, transition_matrix));
}

CheckParts detailed_balance_op(const at::Tensor& counts, const at::Tensor& law) {
  return parts(check_detailed_balance(counts, law));
}

CheckParts keeps_law_op(const c10::IValue& sampler, const c10::IValue& energy,
                        const at::Tensor& exact_samples, std::optional<double> beta,
                        int64_t n_calls, int64_t seed) {
  constexpr const char* kOp = "check_keeps_law";
  return parts(check_keeps_law(
      Sampler::from_ivalue(kOp, sampler), Energy::from_ivalue(kOp, energy), exact_samples,
      {.n_calls = n_calls, .beta = beta, .seed = static_cast<uint64_t>(seed)}));
}

at::Tensor run_sampler_op(const c10::IValue& sampler, const c10::IValue& energy,
                          const at::Tensor& x, std::optional<double> beta, int64_t n_calls,
                          std::optional<at::Generator> generator) {
  constexpr const char* kOp = "_run_sampler";
  return run_sampler(kOp, Sampler::from_ivalue(kOp, sampler), Energy::from_ivalue(kOp, energy), x,
                     beta, n_calls, generator);
}

std::tuple<at::Tensor, at::Tensor> exact_replicas_op(const c10::IValue& energy,
                                                     const at::Tensor& states,
                                                     at::ArrayRef<double> betas, int64_t n_chains,
                                                     std::optional<at::Generator> generator) {
  auto [x, laws] = exact_replicas(Energy::from_ivalue("check_swap_rule", energy), states,
                                  betas.vec(), n_chains, generator);
  return {std::move(x), std::move(laws)};
}

CheckParts check_replicas_op(const at::Tensor& x, const at::Tensor& states,
                             const at::Tensor& laws) {
  return parts(check_replicas(x, states, laws));
}

}  // namespace

TORCH_EBM_DRIVER("chi_square_check", &chi_square_op)
TORCH_EBM_DRIVER("mean_check", &mean_op)
TORCH_EBM_DRIVER("exact_law", &exact_law_op)
TORCH_EBM_DRIVER("check_invariance", &invariance_op)
TORCH_EBM_DRIVER("check_convergence", &convergence_op)
TORCH_EBM_DRIVER("transition_counts", &transition_counts_op)
TORCH_EBM_DRIVER("check_transitions", &transitions_op)
TORCH_EBM_DRIVER("check_detailed_balance", &detailed_balance_op)
TORCH_EBM_DRIVER("check_keeps_law", &keeps_law_op)
TORCH_EBM_DRIVER("_run_sampler", &run_sampler_op)
TORCH_EBM_DRIVER("_exact_replicas", &exact_replicas_op)
TORCH_EBM_DRIVER("_check_replicas", &check_replicas_op)

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("enumerate_states", &enumerate_states_op);
}

}  // namespace torch_ebm::testing
