#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// Ratios of partition functions of n pairs of laws, from samples of both of N independent ladders.
struct PairedBridges {
  at::Tensor log_ratio;  ///< (n,), float64
  /// How much log_ratio differs from the estimates, to first order, for what each ladder brings in; of mean 0. The
  /// mean of what N other ladders bring in would be the error: (N, n).
  at::Tensor deviations;
  double least_ess;  ///< as bridge_sampling has it, of the worst pair

  /// The error variances, as if the pairs were independent of each other: (n,).
  at::Tensor variances() const;
};

/// at_0, at_1: (n, N), log f_1 / f_0 at samples of law 0 and of law 1. Throws ValueError, naming `what` and the pair,
/// where they do not overlap.
PairedBridges paired_bridges(const char* op, const char* what, const at::Tensor& at_0,
                             const at::Tensor& at_1);

/// A Kalman filter of log Z of n rungs, and of the drift of each, the error that the estimates of its changes have in
/// common: mean = (log Z, drift). `covariance` decides the gain. The error itself is known better: what the ladders
/// bring in (`deviations`) goes through the same filter, so that its spread knows of every correlation between their
/// samples, in time and between rungs; `anchored` is the covariance of errors that do not come from the ladders.
struct LogZFilter {
  at::Tensor mean;        ///< (2n,)
  at::Tensor covariance;  ///< (2n, 2n)
  at::Tensor deviations;  ///< (N, 2n)
  at::Tensor anchored;    ///< (2n, 2n)

  /// What is known before the first change: what the bridges between neighbouring rungs say.
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
