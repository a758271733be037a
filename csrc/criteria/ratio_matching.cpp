#include "torch_ebm/criteria/ratio_matching.h"

#include "csrc/criteria/site_changes.h"

namespace torch_ebm {

namespace {

constexpr const char* kRatioMatching = "ratio_matching";

at::Tensor squared_conditional_of_the_flip(const at::Tensor& differences) {
  return at::sigmoid(differences.squeeze(2).neg()).square();
}

at::Tensor ratio_matching_op(const c10::IValue& energy, const at::Tensor& x,
                             std::optional<int64_t> n_sites, std::optional<int64_t> chunk_size,
                             const std::optional<at::Tensor>& weights, c10::string_view reduction,
                             std::optional<at::Generator> generator) {
  return ratio_matching(Energy::from_ivalue(kRatioMatching, energy), x,
                        {weights, std::string(reduction), std::move(generator)},
                        {n_sites, chunk_size});
}

}  // namespace

at::Tensor ratio_matching(const Energy& energy, const at::Tensor& x,
                          const CriterionOptions& criterion, const RatioMatchingOptions& options) {
  const detail::Criterion examples(kRatioMatching, x, criterion);
  return examples.reduce(detail::sum_over_blocks(
      examples, energy, {.n_sites = options.n_sites, .chunk_size = options.chunk_size},
      squared_conditional_of_the_flip));
}

TORCH_EBM_CRITERION("ratio_matching", &ratio_matching_op)

}  // namespace torch_ebm
