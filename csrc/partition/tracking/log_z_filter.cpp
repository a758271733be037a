#include "csrc/partition/tracking/log_z_filter.h"

#include <cmath>
#include <limits>

namespace torch_ebm::detail {

namespace {

constexpr int64_t kMaxRatioIterations = 200;
constexpr double kRatioAccuracy = 1e-14;  // of a ratio, relative to the width of the first bracket
constexpr double kSingular =
    1e-15;  // an eigenvalue, relative to the largest: estimates without any error

/// The covariance of the mean of N independent rows (N, n) of mean 0.
at::Tensor covariance_of_mean(const at::Tensor& deviations) {
  const double n = static_cast<double>(deviations.size(0));
  return at::mm(deviations.t(), deviations) / (n * (n - 1));
}

/// Each rung's log Z by the bridges between neighbours: the sum over the pairs from it down to the
/// base.
struct Observation {
  at::Tensor log_z;       // (n,)
  at::Tensor covariance;  // (n, n), of independent bridges
  at::Tensor deviations;  // (N, n)
};

Observation summed(const PairedBridges& neighbours, double log_z_base) {
  const at::Tensor& ratios = neighbours.log_ratio;
  const at::Tensor sums = at::ones({ratios.size(0), ratios.size(0)}, ratios.options()).triu();
  return {log_z_base + at::mv(sums, ratios), at::mm(sums * neighbours.variances(), sums.t()),
          at::mm(neighbours.deviations, sums.t())};
}

struct LogSum {
  at::Tensor value;
  at::Tensor slope;  // its derivative in a shift of all terms
};

/// log sum_i sigmoid(a_i) of each row.
LogSum log_sigmoid_sums(const at::Tensor& a) {
  const at::Tensor terms = at::log_sigmoid(a);
  const at::Tensor value = at::logsumexp(terms, {1});
  return {value, (at::exp(terms - value.unsqueeze(1)) * at::sigmoid(-a)).sum(1)};
}

/// bridge_sampling's optimal ratio of equally many samples, of all rows at once: from 0, which is near, by Newton's
/// method, and by halving the bracket where that leaves it or does not halve the difference.
at::Tensor bennett_ratios(const at::Tensor& at_0, const at::Tensor& at_1) {
  const at::Tensor all = at::cat({at_0, at_1}, 1);
  const at::Tensor finite = all.isfinite();
  const double margin = 1 + std::log(static_cast<double>(all.size(1)));
  at::Tensor low = at::where(finite, all, INFINITY).amin(1) - margin;
  at::Tensor high = at::where(finite, all, -INFINITY).amax(1) + margin;
  const at::Tensor accuracy = kRatioAccuracy * at::maximum(low.abs(), high.abs()).clamp_min(1);
  at::Tensor c = at::zeros_like(low);
  at::Tensor previous = at::full_like(low, INFINITY);
  for (int64_t i = 0; i < kMaxRatioIterations; ++i) {
    const LogSum up = log_sigmoid_sums(at_0 - c.unsqueeze(1));
    const LogSum down = log_sigmoid_sums(c.unsqueeze(1) - at_1);
    const at::Tensor difference = up.value - down.value;
    low = at::where(difference > 0, c, low);
    high = at::where(difference > 0, high, c);
    const at::Tensor step = difference / (up.slope + down.slope);
    const at::Tensor there = (step.abs() <= accuracy).logical_or(high - low <= accuracy);
    if (there.all().item<bool>()) return at::where(step.abs() <= accuracy, c + step, c);
    const at::Tensor next = c + step;
    const at::Tensor good =
        (next > low).logical_and(next < high).logical_and(difference.abs() <= previous / 2);
    c = at::where(there, c, at::where(good, next, (low + high) / 2));
    previous = difference.abs();
  }
  return c;
}

/// Rejects pairs of distributions, by number, that do not overlap.
void check_reach(const char* op, const char* what, const at::Tensor& overlap) {
  const at::Tensor apart = overlap.logical_not().nonzero();
  TORCH_CHECK_VALUE(apart.size(0) == 0, op, ": ", what, " ", apart[0][0].item<int64_t>(),
                    ", do not overlap");
}

at::Tensor symmetric(const at::Tensor& matrix) { return (matrix + matrix.t()) / 2; }

/// A C A' + K R K', Joseph's form: it stays positive.
at::Tensor updated_covariance(const at::Tensor& covariance, const at::Tensor& kept,
                              const at::Tensor& gain, const at::Tensor& of_observation) {
  return symmetric(kept.mm(covariance).mm(kept.t()) + gain.mm(of_observation).mm(gain.t()));
}

at::Tensor identity_like(const at::Tensor& matrix) {
  return at::eye(matrix.size(0), matrix.options());
}

}  // namespace

at::Tensor PairedBridges::variances() const { return covariance_of_mean(deviations).diagonal(); }

PairedBridges paired_bridges(const char* op, const char* what, const at::Tensor& at_0,
                             const at::Tensor& at_1) {
  check_reach(op, what, at_0.isfinite().any(1).logical_and(at_1.isfinite().any(1)));
  const at::Tensor c = bennett_ratios(at_0, at_1);
  const at::Tensor column = c.unsqueeze(1);
  const at::Tensor p_0 = at::sigmoid(at_0 - column);  // that a sample of 0 comes from 1
  const at::Tensor q_1 = at::sigmoid(column - at_1);  // and vice versa
  const at::Tensor overlap = (p_0 * (1 - p_0) + q_1 * (1 - q_1)).sum(1);
  check_reach(op, what, overlap.ge(std::numeric_limits<double>::min()));
  // By the implicit function theorem, from the equation that the ratio solves.
  const at::Tensor of_each = (p_0 - q_1) * (at_0.size(1) / overlap).unsqueeze(1);
  return {c, of_each.t(), 4 * overlap.min().item<double>()};
}

LogZFilter LogZFilter::start(const PairedBridges& neighbours, double log_z_base) {
  const Observation observed = summed(neighbours, log_z_base);
  const int64_t n = observed.log_z.size(0);
  const at::Tensor covariance = at::zeros({2 * n, 2 * n}, observed.log_z.options());
  covariance.narrow(0, 0, n).narrow(1, 0, n).copy_(observed.covariance);
  return {at::cat({observed.log_z, at::zeros_like(observed.log_z)}), covariance,
          at::cat({observed.deviations, at::zeros_like(observed.deviations)}, 1),
          at::zeros_like(covariance)};
}

void LogZFilter::predict(const PairedBridges& changes) {
  const int64_t n = n_rungs();
  const at::Tensor step = identity_like(covariance);  // log Z' = log Z + change + drift
  step.narrow(0, 0, n).narrow(1, n, n).copy_(at::eye(n, step.options()));
  const at::Tensor zeros = at::zeros_like(changes.log_ratio);
  mean = step.mv(mean) + at::cat({changes.log_ratio, zeros});
  const at::Tensor variances = changes.variances();
  covariance = step.mm(covariance).mm(step.t()) + at::cat({variances, variances}).diag();
  deviations = deviations.mm(step.t()) +
               at::cat({changes.deviations, at::zeros_like(changes.deviations)}, 1);
  anchored = step.mm(anchored).mm(step.t());
}

at::Tensor LogZFilter::observe(const PairedBridges& neighbours, double log_z_base) {
  const int64_t n = n_rungs();
  const Observation observed = summed(neighbours, log_z_base);
  const at::Tensor shared = covariance.narrow(1, 0, n);  // of everything with log Z
  const at::Tensor inverse = at::linalg_pinv(
      symmetric(shared.narrow(0, 0, n) + observed.covariance), kSingular, /*hermitian=*/true);
  const at::Tensor gain = shared.mm(inverse);
  const at::Tensor difference = observed.log_z - mean.narrow(0, 0, n);
  const at::Tensor deviation = observed.deviations - deviations.narrow(1, 0, n);
  const at::Tensor spread =
      covariance_of_mean(deviation).diagonal() + anchored.diagonal().narrow(0, 0, n);
  const at::Tensor kept = identity_like(covariance);
  kept.narrow(1, 0, n).sub_(gain);
  mean = mean + gain.mv(difference);
  covariance = updated_covariance(covariance, kept, gain, observed.covariance);
  deviations = deviations + deviation.mm(gain.t());
  anchored = symmetric(kept.mm(anchored).mm(kept.t()));
  return at::where(difference == 0, difference, difference / at::sqrt(spread));
}

void LogZFilter::anchor(double log_z, double std_error) {
  const at::Tensor variance = at::full({1, 1}, std_error * std_error, mean.options());
  const at::Tensor shared = error().narrow(1, 0, 1);
  const at::Tensor gain = shared / (shared[0] + variance);
  const at::Tensor kept = identity_like(covariance);
  kept.narrow(1, 0, 1).sub_(gain);
  mean = mean + gain.flatten() * (log_z - mean[0]);
  covariance = updated_covariance(covariance, kept, gain, variance);
  deviations = deviations.mm(kept.t());
  anchored = updated_covariance(anchored, kept, gain, variance);
}

at::Tensor LogZFilter::error() const { return covariance_of_mean(deviations) + anchored; }

}  // namespace torch_ebm::detail
