#include "torch_ebm/criteria/nce.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/criteria/noise.h"

namespace torch_ebm {

namespace {

constexpr const char* kNce = "nce";

at::Tensor nce_op(const c10::IValue& energy, const at::Tensor& x, const at::Tensor& noise,
                  const at::Tensor& noise_log_prob, const at::Tensor& data_log_prob,
                  const std::optional<at::Tensor>& log_z, const std::optional<at::Tensor>& weights,
                  c10::string_view reduction) {
  return nce(Energy::from_ivalue(kNce, energy), x, {noise, noise_log_prob, data_log_prob},
             {weights, std::string(reduction)}, {log_z});
}

}  // namespace

at::Tensor nce(const Energy& energy, const at::Tensor& x, const NoiseSamples& noise,
               const CriterionOptions& criterion, const NceOptions& options) {
  const detail::Criterion examples(kNce, x, criterion);
  const bool learns_log_z = options.log_z && options.log_z->defined();
  if (learns_log_z) {
    detail::check_floating(kNce, "log_z", *options.log_z);
    detail::check_shape(kNce, "log_z", *options.log_z, {}, "()");
    detail::check_not_meta(kNce, "log_z", *options.log_z);
  }
  const at::Tensor ratios = detail::log_ratios_to_noise(examples, energy, noise);
  const int64_t nu = ratios.size(1) - 1;
  at::Tensor logits = ratios - std::log(nu);  // the log odds that a state is an example
  if (learns_log_z) logits = logits - *options.log_z;
  return examples.reduce(-at::log_sigmoid(logits.select(1, 0)) -
                         at::log_sigmoid(-logits.narrow(1, 1, nu)).sum(1));
}

TORCH_EBM_CRITERION("nce", &nce_op)

}  // namespace torch_ebm
