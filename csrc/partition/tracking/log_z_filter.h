#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// Ratios of partition functions of n pairs of distributions, from samples of both, of N
/// independent ladders.
struct PairedBridges {
  at::Tensor log_ratio;  ///< (n,), float64
  /// The contribution of each ladder to the deviation of log_ratio, to first order, (N, n); of mean
  /// 0. The mean of the contributions of N other ladders would be the error.
  at::Tensor deviations;
  double least_ess;  ///< as in bridge_sampling, of the worst pair

  /// The error variances, as if the pairs were independent of each other: (n,).
  at::Tensor variances() const;
};

/// at_0, at_1: (n, N), log f_1 / f_0 at samples of distribution 0 and of distribution 1. Throws
/// ValueError, naming `what` and the pair, if they do not overlap.
PairedBridges paired_bridges(const char* op, const char* what, const at::Tensor& at_0,
                             const at::Tensor& at_1);

/// A Kalman filter of log Z of n rungs, and of the drift of each, the error common to the estimates
/// of its changes: mean = (log Z, drift). `covariance` sets the gain. The error itself is known
/// better: the contributions of the ladders (`deviations`) go through the same filter, so that
/// their spread accounts for every correlation between the samples, in time and between rungs;
/// `anchored` is the covariance of errors that do not come from the ladders.
struct LogZFilter {
  at::Tensor mean;        ///< (2n,)
  at::Tensor covariance;  ///< (2n, 2n)
  at::Tensor deviations;  ///< (N, 2n)
  at::Tensor anchored;    ///< (2n, 2n)

  /// The state before the first change, from the bridges between neighbouring rungs.
  static LogZFilter start(const PairedBridges& neighbours, double log_z_base);
  /// The parameters changed; changes: log Z new / old of every rung.
  void predict(const PairedBridges& changes);
  /// neighbours: log Z of rung r over that of rung r + 1. Returns by how many of its standard errors each rung's log Z
  /// was off from them, (n,).
  at::Tensor observe(const PairedBridges& neighbours, double log_z_base);
  /// An estimate of log Z of rung 0 from other samples.
  void anchor(double log_z, double std_error);
  /// The covariance of the error of `mean`.
  at::Tensor error() const;

 private:
  int64_t n_rungs() const { return mean.size(0) / 2; }
};

}  // namespace torch_ebm::detail
