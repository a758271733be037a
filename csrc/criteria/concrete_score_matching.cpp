#include "torch_ebm/criteria/concrete_score_matching.h"

#include "csrc/criteria/site_changes.h"

namespace torch_ebm {

namespace {

constexpr const char* kConcreteScoreMatching = "concrete_score_matching";

/// exp(-2 d) - 2 exp(d) + 1, accurate for small differences.
at::Tensor tractable_error(const at::Tensor& differences) {
  return (at::expm1(-2 * differences) - 2 * at::expm1(differences)).sum(2);
}

at::Tensor concrete_score_matching_op(const c10::IValue& energy, const at::Tensor& x,
                                      std::optional<bool> categorical,
                                      std::optional<int64_t> n_sites,
                                      std::optional<int64_t> chunk_size,
                                      const std::optional<at::Tensor>& weights,
                                      c10::string_view reduction,
                                      std::optional<at::Generator> generator) {
  return concrete_score_matching(Energy::from_ivalue(kConcreteScoreMatching, energy), x,
                                 {weights, std::string(reduction), std::move(generator)},
                                 {categorical, n_sites, chunk_size});
}

}  // namespace

at::Tensor concrete_score_matching(const Energy& energy, const at::Tensor& x,
                                   const CriterionOptions& criterion,
                                   const ConcreteScoreMatchingOptions& options) {
  const detail::Criterion examples(kConcreteScoreMatching, x, criterion);
  return examples.reduce(detail::sum_over_blocks(
      examples, energy, {options.categorical, std::nullopt, options.n_sites, options.chunk_size},
      tractable_error));
}

TORCH_EBM_CRITERION("concrete_score_matching", &concrete_score_matching_op)

}  // namespace torch_ebm
