#include "torch_ebm/criteria/ranking_nce.h"

#include "csrc/criteria/noise.h"

namespace torch_ebm {

namespace {

constexpr const char* kRankingNce = "ranking_nce";

at::Tensor ranking_nce_op(const c10::IValue& energy, const at::Tensor& x, const at::Tensor& noise,
                          const at::Tensor& noise_log_prob, const at::Tensor& data_log_prob,
                          const std::optional<at::Tensor>& weights, c10::string_view reduction) {
  return ranking_nce(Energy::from_ivalue(kRankingNce, energy), x,
                     {noise, noise_log_prob, data_log_prob}, {weights, std::string(reduction)});
}

}  // namespace

at::Tensor ranking_nce(const Energy& energy, const at::Tensor& x, const NoiseSamples& noise,
                       const CriterionOptions& criterion) {
  const detail::Criterion examples(kRankingNce, x, criterion);
  const at::Tensor scores = detail::log_ratios_to_noise(examples, energy, noise);
  return examples.reduce(-at::log_softmax(scores, 1).select(1, 0));
}

TORCH_EBM_CRITERION("ranking_nce", &ranking_nce_op)

}  // namespace torch_ebm
