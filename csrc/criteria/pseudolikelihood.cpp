#include "torch_ebm/criteria/pseudolikelihood.h"

#include "csrc/criteria/site_changes.h"

namespace torch_ebm {

namespace {

constexpr const char* kPseudolikelihood = "pseudolikelihood";

/// -log p(state of the block | the rest): log(1 + sum exp(-difference)).
at::Tensor negative_log_conditional(const at::Tensor& differences) {
  if (differences.size(2) == 1) return at::log_sigmoid(differences.squeeze(2)).neg();
  const at::Tensor itself = at::zeros_like(differences.narrow(2, 0, 1));
  return at::logsumexp(at::cat({itself, differences.neg()}, 2), {2});
}

at::Tensor pseudolikelihood_op(const c10::IValue& energy, const at::Tensor& x,
                               std::optional<bool> categorical,
                               const std::optional<at::Tensor>& blocks,
                               std::optional<int64_t> n_sites, std::optional<int64_t> chunk_size,
                               const std::optional<at::Tensor>& weights, c10::string_view reduction,
                               std::optional<at::Generator> generator) {
  return pseudolikelihood(Energy::from_ivalue(kPseudolikelihood, energy), x,
                          {weights, std::string(reduction), std::move(generator)},
                          {categorical, blocks, n_sites, chunk_size});
}

}  // namespace

at::Tensor pseudolikelihood(const Energy& energy, const at::Tensor& x,
                            const CriterionOptions& criterion,
                            const PseudolikelihoodOptions& options) {
  const detail::Criterion examples(kPseudolikelihood, x, criterion);
  return examples.reduce(detail::sum_over_blocks(
      examples, energy, {options.categorical, options.blocks, options.n_sites, options.chunk_size},
      negative_log_conditional));
}

TORCH_EBM_CRITERION("pseudolikelihood", &pseudolikelihood_op)

}  // namespace torch_ebm
