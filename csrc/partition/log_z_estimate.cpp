#include "csrc/partition/log_z_estimate.h"

#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"

namespace torch_ebm {

namespace {

constexpr const char* kLogZFromWeights = "log_z_from_weights";
constexpr double kEnoughWeights = 100;  // for the delta method
constexpr double kFewWeights = 10;
constexpr double kWideInterval = 2;

/// The standard error of log_mean if the weights followed a log-normal distribution. Its parameters
/// are fitted above the median: small weights say nothing about the large ones. It is that of the
/// mean weight, or, where this is out of reach, the distance to the estimate and error of Cox's
/// method (Zhou & Gao 1997) for N weights and the quantile t.
at::Tensor log_normal_error(const at::Tensor& log_w, const at::Tensor& log_mean, double t) {
  const at::Tensor finite = log_w.masked_select(log_w.gt(-INFINITY));
  const double n = static_cast<double>(finite.size(0));
  const at::Tensor median = finite.median();
  const at::Tensor above = (finite - median).clamp_min(0);
  const at::Tensor variance = above.square().sum() / above.gt(0).sum().clamp_min(1);
  const at::Tensor of_mean = at::sqrt(at::expm1(variance) / n);
  const at::Tensor cox = median + variance / 2;
  const at::Tensor cox_error =
      at::sqrt(variance / n + variance.square() / (2 * std::max(n - 1, 1.0)));
  return at::minimum(of_mean, (cox - log_mean).abs() / t + cox_error);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> log_z_from_weights_kernel(
    const at::Tensor& log_weights, const at::Tensor& log_z_base) {
  const at::NoGradGuard no_grad;
  detail::check_floating(kLogZFromWeights, "log_weights", log_weights);
  detail::check_shape(kLogZFromWeights, "log_weights", log_weights, {-1}, "(N,)");
  detail::check_at_least(kLogZFromWeights, "the number of log_weights", log_weights.size(0), 2);
  detail::check_shape(kLogZFromWeights, "log_z_base", log_z_base, {}, "()");
  const at::Tensor log_w = log_weights.to(at::kDouble);
  TORCH_CHECK_VALUE(log_w.lt(INFINITY).all().item<bool>(), kLogZFromWeights,
                    ": log_weights must not be NaN or +inf");
  TORCH_CHECK_VALUE(log_w.gt(-INFINITY).any().item<bool>(), kLogZFromWeights,
                    ": log_weights are all -inf: no chain reached the model");
  const double n = static_cast<double>(log_w.size(0));
  const double t = detail::t_quantile(log_w.size(0) - 1);
  const at::Tensor log_mean = at::logsumexp(log_w, {0}) - std::log(n);
  const at::Tensor w = at::exp(log_w - log_mean);  // mean 1
  const at::Tensor ess = n * n / w.square().sum();
  at::Tensor std_error = w.std(/*dim=*/0, /*unbiased=*/true) / std::sqrt(n);
  if (ess.item<double>() < kEnoughWeights) {
    std_error = at::maximum(std_error, log_normal_error(log_w, log_mean, t));
  }
  const at::Tensor log_z = log_mean + log_z_base.to(at::kDouble);
  return {log_z, std_error, log_z - t * std_error, log_z + t * std_error, ess};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> log_z_from_weights_meta(
    const at::Tensor& log_weights, const at::Tensor&) {
  const auto number = [&] { return at::empty({}, log_weights.options().dtype(at::kDouble)); };
  return {number(), number(), number(), number(), number()};
}

}  // namespace

namespace detail {

/// By its expansion about the normal one (Abramowitz & Stegun 26.7.5): within
/// 0.13% for 3 or more degrees of freedom; tabulated for 1 and 2.
double t_quantile(int64_t degrees) {
  if (degrees == 1) return 12.706204736;
  if (degrees == 2) return 4.302652730;
  const double z = 1.959963985;
  const double n = static_cast<double>(degrees);
  const double z2 = z * z;
  const double g1 = z * (z2 + 1) / 4;
  const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
  const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
  const double g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;
  return z + g1 / n + g2 / (n * n) + g3 / (n * n * n) + g4 / (n * n * n * n);
}

std::string log_z_warning(double ess, int64_t n_weights, double lower, double upper) {
  if (ess < std::min(kFewWeights, static_cast<double>(n_weights) / 2)) {
    return fmt::format(
        "Only {:.1f} of {} weights are effective: those that would count most are likely missing, "
        "and "
        "the error is unknown; anneal more slowly.",
        ess, n_weights);
  }
  if (!(upper - lower <= kWideInterval)) {
    return fmt::format(
        "The weights spread over so many orders of magnitude that the interval, {:.1f} wide, is "
        "itself uncertain; "
        "anneal more slowly.",
        upper - lower);
  }
  return {};
}

}  // namespace detail

LogZEstimate log_z_from_weights(const at::Tensor& log_weights, const at::Tensor& log_z_base) {
  static const auto op =
      detail::find_operator<decltype(log_z_from_weights_kernel)>("torch_ebm::log_z_from_weights");
  const auto [log_z, std_error, lower, upper, ess] = op.call(log_weights, log_z_base);
  return {.log_z = log_z,
          .std_error = std_error,
          .lower = lower,
          .upper = upper,
          .ess = ess,
          .log_weights = log_weights.to(at::kDouble),
          .warning = detail::log_z_warning(ess.item<double>(), log_weights.size(0),
                                           lower.item<double>(), upper.item<double>())};
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("log_z_from_weights", &log_z_from_weights_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("log_z_warning", &detail::log_z_warning);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("log_z_from_weights", &log_z_from_weights_meta); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("log_z_from_weights", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
