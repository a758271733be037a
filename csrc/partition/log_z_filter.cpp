#include "csrc/partition/log_z_filter.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "csrc/partition/bridge.h"

namespace torch_ebm::detail {

namespace {

constexpr double kSingular =
    1e-15;  // an eigenvalue, relative to the largest: estimates without any error

/// The covariance of the mean of N independent rows (N, n) of mean 0.
at::Tensor covariance_of_mean(const at::Tensor& deviations) {
  const double n = static_cast<double>(deviations.size(0));
  return at::mm(deviations.t(), deviations) / (n * (n - 1));
}

/// What the bridges between neighbours say of each rung's log Z: the sum over the pairs from it down to the base.
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

at::Tensor symmetric(const at::Tensor& matrix) { return (matrix + matrix.t()) / 2; }

/// A C A' + K R K', Joseph's form: it stays positive.
at::Tensor updated(const at::Tensor& covariance, const at::Tensor& kept, const at::Tensor& gain,
                   const at::Tensor& of_observation) {
  return symmetric(kept.mm(covariance).mm(kept.t()) + gain.mm(of_observation).mm(gain.t()));
}

at::Tensor identity_like(const at::Tensor& matrix) {
  return at::eye(matrix.size(0), matrix.options());
}

}  // namespace

at::Tensor PairedBridges::variances() const { return covariance_of_mean(deviations).diagonal(); }

PairedBridges paired_bridges(const char* op, const char* what, const at::Tensor& at_0,
                             const at::Tensor& at_1) {
  std::vector<double> log_ratios;
  std::vector<at::Tensor> deviations;
  double least_ess = INFINITY;
  for (int64_t pair = 0; pair < at_0.size(0); ++pair) {
    const LogRatios ratios{at_0[pair], at_1[pair]};
    TORCH_CHECK_VALUE(
        ratios.at_0.isfinite().any().item<bool>() && ratios.at_1.isfinite().any().item<bool>(), op,
        ": ", what, " ", pair, " do not overlap");
    const double log_ratio = ratios.log_z(Bridge::kOptimal, 0.0);
    const double overlap = ratios.overlap(log_ratio);
    TORCH_CHECK_VALUE(std::isnormal(overlap), op, ": ", what, " ", pair, " do not overlap");
    // By the implicit function theorem, from the equation that the optimal bridge solves.
    deviations.push_back(
        (at::sigmoid(ratios.at_0 - log_ratio) - at::sigmoid(log_ratio - ratios.at_1)) *
        (static_cast<double>(at_0.size(1)) / overlap));
    log_ratios.push_back(log_ratio);
    least_ess = std::min(least_ess, 4 * overlap);
  }
  return {at::tensor(log_ratios, at_0.options()), at::stack(deviations, 1), least_ess};
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
  covariance = updated(covariance, kept, gain, observed.covariance);
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
  covariance = updated(covariance, kept, gain, variance);
  deviations = deviations.mm(kept.t());
  anchored = updated(anchored, kept, gain, variance);
}

at::Tensor LogZFilter::error() const { return covariance_of_mean(deviations) + anchored; }

}  // namespace torch_ebm::detail
