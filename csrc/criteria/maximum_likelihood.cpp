#include "torch_ebm/maximum_likelihood.h"

#include "csrc/common/checks.h"
#include "csrc/criteria/criterion.h"
#include "torch_ebm/log_partition.h"

namespace torch_ebm {

namespace {

constexpr const char* kMaximumLikelihood = "maximum_likelihood";

void check_negative_samples(const at::Tensor& x, const at::Tensor& samples) {
  detail::check_same_type(kMaximumLikelihood, "negative_samples", samples, "x", x);
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = -1;
  detail::check_shape(kMaximumLikelihood, "negative_samples", samples, shape, "(M, ...)");
  detail::check_chains(kMaximumLikelihood, "negative_samples", samples);
  detail::check_finite(kMaximumLikelihood, "negative_samples", samples);
}

at::Tensor log_z_of(const detail::Criterion& examples, const Energy& energy,
                    const MaximumLikelihoodOptions& options) {
  if (detail::given(options.log_z)) {
    detail::check_floating(kMaximumLikelihood, "log_z", *options.log_z);
    detail::check_shape(kMaximumLikelihood, "log_z", *options.log_z, {}, "()");
    detail::check_not_meta(kMaximumLikelihood, "log_z", *options.log_z);
  }
  if (detail::given(options.negative_samples)) {
    check_negative_samples(examples.x, *options.negative_samples);
    return log_partition(energy, *options.negative_samples, options.log_z,
                         options.negative_weights);
  }
  TORCH_CHECK_VALUE(detail::given(options.log_z), kMaximumLikelihood,
                    ": negative_samples or log_z must be given, got neither");
  TORCH_CHECK_VALUE(!detail::given(options.negative_weights), kMaximumLikelihood,
                    ": negative_weights must be left out without negative_samples");
  return *options.log_z;
}

at::Tensor maximum_likelihood_op(const c10::IValue& energy, const at::Tensor& x,
                                 const std::optional<at::Tensor>& negative_samples,
                                 const std::optional<at::Tensor>& log_z,
                                 const std::optional<at::Tensor>& negative_weights,
                                 const std::optional<at::Tensor>& weights,
                                 c10::string_view reduction) {
  return maximum_likelihood(Energy::from_ivalue(kMaximumLikelihood, energy), x,
                            {weights, std::string(reduction)},
                            {negative_samples, log_z, negative_weights});
}

}  // namespace

at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                              const CriterionOptions& criterion,
                              const MaximumLikelihoodOptions& options) {
  const detail::Criterion examples(kMaximumLikelihood, x, criterion);
  const at::Tensor log_z = log_z_of(examples, energy, options);
  return examples.reduce(energy.value(examples.x) + log_z);
}

at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                              const MaximumLikelihoodOptions& options) {
  return maximum_likelihood(energy, x, CriterionOptions(), options);
}

TORCH_EBM_CRITERION("maximum_likelihood", &maximum_likelihood_op)

}  // namespace torch_ebm
