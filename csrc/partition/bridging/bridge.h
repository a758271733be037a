#pragma once
// Estimates of log Z from samples of several distributions: their results, and the bridge between
// two distributions.

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm::detail {

/// log_z, std_error, lower, upper and ess, as an operator returns them: float64, shape ().
using LogZNumbers = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

/// With the interval log_z -+ half_width.
LogZNumbers log_z_numbers(double log_z, double std_error, double half_width, double ess,
                          const at::TensorOptions& options);
/// What a meta kernel returns for them.
LogZNumbers meta_numbers(const at::TensorOptions& options);
LogZEstimate log_z_estimate(const LogZNumbers& numbers, const at::Tensor& betas = {});

/// A warning about an estimate with this effective number of samples; empty if there is none.
std::string overlap_warning(double ess, double lower, double upper);

/// The jackknife variance, from the estimates that leave out one group each.
double jackknife_variance(const std::vector<double>& without_one);

enum class Bridge { kOptimal, kGeometric };

/// log f_1 / f_0 at samples of distribution 0 and of distribution 1, (n,), float64.
struct LogRatios {
  at::Tensor at_0;
  at::Tensor at_1;

  /// log Z_1 / Z_0, found from `start`, if one is near.
  double log_z(Bridge bridge, std::optional<double> start = std::nullopt) const;
  /// The sum over all samples of p (1 - p), p the probability that a sample comes from distribution
  /// 1.
  double overlap(double log_z) const;
  /// The asymptotic variance of log_z, for independent samples.
  double variance(Bridge bridge, double log_z) const;

 private:
  /// The logit of p for each sample, if Z_1 = Z_0.
  LogRatios logits() const;
  double optimal(std::optional<double> start) const;
};

}  // namespace torch_ebm::detail
