#include "torch_ebm/partition/bridging/bridge_sampling.h"

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/bridging/bridge.h"
#include "csrc/partition/log_z_estimate.h"

namespace torch_ebm {

namespace {

using detail::Bridge;
using detail::LogRatios;

constexpr const char* kBridgeSampling = "bridge_sampling";

Bridge parse_bridge(const std::string& bridge) {
  if (bridge == "optimal") return Bridge::kOptimal;
  TORCH_CHECK_VALUE(bridge == "geometric", kBridgeSampling,
                    ": bridge must be 'optimal' or 'geometric', got '", bridge, "'");
  return Bridge::kGeometric;
}

/// The ratios as float64; `impossible` is the infinite one that no sample of this distribution can
/// have.
at::Tensor checked_ratio(const char* name, const at::Tensor& log_ratio, double impossible) {
  detail::check_floating(kBridgeSampling, name, log_ratio);
  TORCH_CHECK_VALUE(log_ratio.dim() == 1 || log_ratio.dim() == 2, kBridgeSampling, ": ", name,
                    " must have shape (n,) or (T, C), got ",
                    detail::describe_shape(log_ratio.sizes()));
  const bool chains = log_ratio.dim() == 2;
  detail::check_at_least(kBridgeSampling, chains ? "the number of chains" : "the number of samples",
                         log_ratio.size(-1), 2);
  detail::check_at_least(kBridgeSampling, "the number of steps", log_ratio.size(0), 1);
  const at::Tensor ratio = log_ratio.detach().to(at::kDouble);
  TORCH_CHECK_VALUE(!ratio.isnan().any().item<bool>() && !ratio.eq(impossible).any().item<bool>(),
                    kBridgeSampling, ": ", name, " must not be NaN or ",
                    impossible > 0 ? "+inf" : "-inf",
                    ", by which the sample would be impossible under its own distribution");
  TORCH_CHECK_VALUE(ratio.isfinite().any().item<bool>(), kBridgeSampling, ": ", name,
                    " is infinite for every sample: none is possible under the other distribution");
  return ratio;
}

at::Tensor without_chain(const at::Tensor& chains, int64_t chain) {
  return at::cat({chains.slice(1, 0, chain), chains.slice(1, chain + 1)}, 1);
}

/// The contribution to the variance of log_z of the chains of one distribution.
template <typename Estimate>
double variance_of_chains(const at::Tensor& chains, const Estimate& estimate) {
  std::vector<double> without_one;
  for (int64_t chain = 0; chain < chains.size(1); ++chain) {
    const at::Tensor rest = without_chain(chains, chain).flatten();
    TORCH_CHECK_VALUE(rest.isfinite().any().item<bool>(), kBridgeSampling,
                      ": all samples that are possible under the other distribution come from one "
                      "chain");
    without_one.push_back(estimate(rest));
  }
  return detail::jackknife_variance(without_one);
}

detail::LogZNumbers bridge_sampling_kernel(const at::Tensor& log_ratio_0,
                                           const at::Tensor& log_ratio_1,
                                           c10::string_view bridge_name) {
  const at::NoGradGuard no_grad;
  const Bridge bridge = parse_bridge(std::string(bridge_name));
  const at::Tensor ratio_0 = checked_ratio("log_ratio_0", log_ratio_0, INFINITY);
  const at::Tensor ratio_1 = checked_ratio("log_ratio_1", log_ratio_1, -INFINITY);
  TORCH_CHECK_VALUE(ratio_0.dim() == ratio_1.dim(), kBridgeSampling,
                    ": log_ratio_0 and log_ratio_1 must both be (n,) or both (T, C)");
  const LogRatios all{ratio_0.flatten(), ratio_1.flatten()};
  const double log_z = all.log_z(bridge);
  double variance = 0;
  int64_t degrees = 0;
  if (ratio_0.dim() == 1) {
    variance = all.variance(bridge, log_z);
    degrees = ratio_0.size(0) + ratio_1.size(0) - 2;
  } else {
    const double of_0 = variance_of_chains(ratio_0, [&](const at::Tensor& rest) {
      return LogRatios{rest, all.at_1}.log_z(bridge, log_z);
    });
    const double of_1 = variance_of_chains(ratio_1, [&](const at::Tensor& rest) {
      return LogRatios{all.at_0, rest}.log_z(bridge, log_z);
    });
    variance = of_0 + of_1;
    // That of the distribution that contributes more, which is never more than the two have
    // together.
    degrees = (of_0 > of_1 ? ratio_0 : ratio_1).size(1) - 1;
  }
  const double std_error = std::sqrt(variance);
  return detail::log_z_numbers(log_z, std_error, detail::t_quantile(degrees) * std_error,
                               4 * all.overlap(log_z), ratio_0.options());
}

detail::LogZNumbers bridge_sampling_meta(const at::Tensor& log_ratio_0, const at::Tensor&,
                                         c10::string_view) {
  return detail::meta_numbers(log_ratio_0.options());
}

}  // namespace

LogZEstimate bridge_sampling(const at::Tensor& log_ratio_0, const at::Tensor& log_ratio_1,
                             const std::string& bridge) {
  static const auto op =
      detail::find_operator<decltype(bridge_sampling_kernel)>("torch_ebm::bridge_sampling");
  return detail::log_z_estimate(op.call(log_ratio_0, log_ratio_1, bridge));
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("bridge_sampling", &bridge_sampling_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("overlap_warning", &detail::overlap_warning);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("bridge_sampling", &bridge_sampling_meta); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("bridge_sampling", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
