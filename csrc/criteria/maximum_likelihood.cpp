#include "torch_ebm/criteria/maximum_likelihood.h"

#include "csrc/common/checks.h"
#include "csrc/criteria/criterion.h"
#include "csrc/passes/plain_tensors.h"
#include "torch_ebm/partition/log_partition.h"

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

/// The mean energy of the data minus that of the samples, in one call of the energy, where that is possible. For small
/// batches the number of calls is the cost, forward and backward.
std::optional<at::Tensor> joint_gap(const detail::Criterion& examples, const Energy& energy,
                                    const MaximumLikelihoodOptions& options) {
  constexpr int64_t kMostJoined = 1 << 18;
  const at::Tensor& x = examples.x;
  if (!examples.is_plain_mean() || !energy.is_per_example() || detail::given(options.log_z) ||
      detail::given(options.negative_weights) || !detail::given(options.negative_samples)) {
    return std::nullopt;
  }
  const at::Tensor& samples = *options.negative_samples;
  if (x.numel() + samples.numel() > kMostJoined || !detail::is_plain(x) ||
      !detail::is_plain(samples) || detail::is_traced()) {
    return std::nullopt;
  }
  check_negative_samples(x, samples);
  const int64_t n = x.size(0), m = samples.size(0);
  const at::Tensor share = at::empty({n + m}, x.options());
  share.narrow(0, 0, n).fill_(1.0 / static_cast<double>(n));
  share.narrow(0, n, m).fill_(-1.0 / static_cast<double>(m));
  return (energy.value(at::cat({x, samples.detach()})) * share).sum();
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
  if (auto gap = joint_gap(examples, energy, options)) return *std::move(gap);
  const at::Tensor log_z = log_z_of(examples, energy, options);
  return examples.reduce(energy.value(examples.x) + log_z);
}

at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                              const MaximumLikelihoodOptions& options) {
  return maximum_likelihood(energy, x, CriterionOptions(), options);
}

TORCH_EBM_CRITERION("maximum_likelihood", &maximum_likelihood_op)

}  // namespace torch_ebm
