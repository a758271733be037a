#include "csrc/partition/bridging/bridge.h"

#include <fmt/format.h>

#include <cmath>

namespace torch_ebm::detail {

namespace {

constexpr double kFewSamples = 10;
constexpr double kWideBridgeInterval = 2;
constexpr int64_t kMaxBridgeIterations = 200;
constexpr double kBridgeAccuracy =
    1e-15;  // of the root, relative to the width of the first bracket

double log_sum(const at::Tensor& log_terms) { return at::logsumexp(log_terms, {0}).item<double>(); }

double inverse_size(const at::Tensor& x) { return 1.0 / static_cast<double>(x.size(0)); }

/// The relative variance of the mean of independent weights.
double relative_variance(const at::Tensor& log_weights) {
  const double n = static_cast<double>(log_weights.size(0));
  const double ess = std::exp(2 * log_sum(log_weights) - log_sum(2 * log_weights));
  return std::max(n / ess - 1, 0.0) / (n - 1);
}

/// log sum_i sigmoid(a_i), and its derivative in a shift of all a_i.
std::pair<double, double> log_sigmoid_sum(const at::Tensor& a) {
  const at::Tensor log_terms = at::log_sigmoid(a);
  const double sum = log_sum(log_terms);
  return {sum, at::exp(log_terms - sum).mul(at::sigmoid(-a)).sum().item<double>()};
}

}  // namespace

LogZNumbers log_z_numbers(double log_z, double std_error, double half_width, double ess,
                          const at::TensorOptions& options) {
  const auto number = [&](double value) {
    return at::scalar_tensor(value, options.dtype(at::kDouble));
  };
  return {number(log_z), number(std_error), number(log_z - half_width), number(log_z + half_width),
          number(ess)};
}

LogZNumbers meta_numbers(const at::TensorOptions& options) {
  const auto number = [&] { return at::empty({}, options.dtype(at::kDouble)); };
  return {number(), number(), number(), number(), number()};
}

LogZEstimate log_z_estimate(const LogZNumbers& numbers, const at::Tensor& betas) {
  const auto& [log_z, std_error, lower, upper, ess] = numbers;
  return {
      .log_z = log_z,
      .std_error = std_error,
      .lower = lower,
      .upper = upper,
      .ess = ess,
      .log_weights = at::empty({0}, log_z.options()),
      .betas = betas,
      .warning = overlap_warning(ess.item<double>(), lower.item<double>(), upper.item<double>())};
}

std::string overlap_warning(double ess, double lower, double upper) {
  if (!(ess >= kFewSamples)) {
    return fmt::format(
        "Only {:.1f} samples are effective in the overlap of neighbouring distributions, and the "
        "error is unknown; add distributions between them, or draw more samples.",
        ess);
  }
  if (!(upper - lower <= kWideBridgeInterval)) {
    return fmt::format(
        "The interval is {:.1f} wide; draw more samples, or add distributions between.",
        upper - lower);
  }
  return {};
}

double jackknife_variance(const std::vector<double>& without_one) {
  const double n = static_cast<double>(without_one.size());
  double mean = 0;
  for (double estimate : without_one) mean += estimate / n;
  double sum = 0;
  for (double estimate : without_one) sum += (estimate - mean) * (estimate - mean);
  return sum * (n - 1) / n;
}

LogRatios LogRatios::logits() const {
  const double prior = std::log(inverse_size(at_0) / inverse_size(at_1));
  return {at_0 + prior, at_1 + prior};
}

double LogRatios::log_z(Bridge bridge, std::optional<double> start) const {
  if (bridge == Bridge::kOptimal) return optimal(start);
  return log_sum(at_0 / 2) - log_sum(-at_1 / 2) + std::log(inverse_size(at_0) / inverse_size(at_1));
}

/// The root c of log sum_0 sigmoid(a - c) = log sum_1 sigmoid(c - a), which falls in c: by Newton's method, and by
/// halving the bracket where that leaves it or does not halve the difference.
double LogRatios::optimal(std::optional<double> start) const {
  const auto [a_0, a_1] = logits();
  const at::Tensor all = at::cat({a_0, a_1});
  const at::Tensor finite = all.masked_select(all.isfinite());
  // This far out, one sigmoid of one side outweighs all of the other.
  const double margin = 1 + std::log(static_cast<double>(all.size(0)));
  double low = finite.min().item<double>() - margin;
  double high = finite.max().item<double>() + margin;
  const double accuracy = kBridgeAccuracy * std::max({1.0, std::abs(low), std::abs(high)});
  double c = start.value_or((low + high) / 2);
  double previous = INFINITY;
  for (int64_t i = 0; i < kMaxBridgeIterations; ++i) {
    const auto [log_0, slope_0] = log_sigmoid_sum(a_0 - c);
    const auto [log_1, slope_1] = log_sigmoid_sum(c - a_1);
    const double difference = log_0 - log_1;
    (difference > 0 ? low : high) = c;
    double next = c + difference / (slope_0 + slope_1);
    const bool halve = std::abs(difference) > previous / 2 || !(next > low && next < high);
    previous = std::abs(difference);
    if (halve) next = (low + high) / 2;
    if (std::abs(next - c) <= accuracy || high - low <= accuracy) return next;
    c = next;
  }
  return c;
}

double LogRatios::overlap(double log_z) const {
  const auto [a_0, a_1] = logits();
  const at::Tensor logit = at::cat({a_0, a_1}) - log_z;
  return at::sigmoid(logit).mul(at::sigmoid(-logit)).sum().item<double>();
}

double LogRatios::variance(Bridge bridge, double log_z) const {
  const auto [a_0, a_1] = logits();
  const bool optimal = bridge == Bridge::kOptimal;
  const double delta = relative_variance(optimal ? at::log_sigmoid(a_0 - log_z) : at_0 / 2) +
                       relative_variance(optimal ? at::log_sigmoid(log_z - a_1) : -at_1 / 2);
  return std::max(delta, 1 / overlap(log_z) - inverse_size(at_0) - inverse_size(at_1));
}

}  // namespace torch_ebm::detail
