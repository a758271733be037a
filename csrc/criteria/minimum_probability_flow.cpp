#include "torch_ebm/criteria/minimum_probability_flow.h"

#include "csrc/criteria/site_changes.h"

namespace torch_ebm {

namespace {

constexpr const char* kMinimumProbabilityFlow = "minimum_probability_flow";

at::Tensor flow_to_neighbours(const at::Tensor& differences) {
  return (differences / -2).exp().sum(2);
}

at::Tensor minimum_probability_flow_op(const c10::IValue& energy, const at::Tensor& x,
                                       std::optional<bool> categorical,
                                       std::optional<int64_t> n_sites,
                                       std::optional<int64_t> chunk_size,
                                       const std::optional<at::Tensor>& weights,
                                       c10::string_view reduction,
                                       std::optional<at::Generator> generator) {
  return minimum_probability_flow(Energy::from_ivalue(kMinimumProbabilityFlow, energy), x,
                                  {weights, std::string(reduction), std::move(generator)},
                                  {categorical, n_sites, chunk_size});
}

}  // namespace

at::Tensor minimum_probability_flow(const Energy& energy, const at::Tensor& x,
                                    const CriterionOptions& criterion,
                                    const MinimumProbabilityFlowOptions& options) {
  const detail::Criterion examples(kMinimumProbabilityFlow, x, criterion);
  return examples.reduce(detail::sum_over_blocks(
      examples, energy, {options.categorical, std::nullopt, options.n_sites, options.chunk_size},
      flow_to_neighbours));
}

TORCH_EBM_CRITERION("minimum_probability_flow", &minimum_probability_flow_op)

}  // namespace torch_ebm
