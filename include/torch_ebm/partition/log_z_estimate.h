#pragma once

#include <ATen/ATen.h>

#include <string>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// An estimate of log Z, by any estimator; all numbers in float64.
struct TORCH_EBM_API LogZEstimate {
  at::Tensor log_z;      ///< shape ()
  at::Tensor std_error;  ///< of log_z; shape ()
  at::Tensor lower;      ///< 95% interval; shape ()
  at::Tensor upper;
  at::Tensor ess;             ///< effective number of chains, (sum w)^2 / sum w^2, or of samples
  at::Tensor log_weights;     ///< one per chain, (N,), or group of chains; (0,) if there are none
  at::Tensor betas = {};      ///< the path, (K + 1,); undefined if there is none
  at::Tensor stage_ess = {};  ///< ESS of the weights accumulated up to betas[k + 1], (K,)
  std::string warning =
      {};  ///< why not to trust the estimate, one sentence; empty if there is no known reason
};

/// log Z from N log importance weights (N,) against a base with log partition function log_z_base:
/// log of the mean weight, plus log_z_base; unbiased for Z.
///
/// The standard error is that of the delta method. With fewer than 100 effective weights, it misses
/// heavy weights that were not drawn. It is then at least that of a log-normal distribution with
/// the spread s of the log weights above their median m: sqrt((exp(s^2) - 1) / N), or, if that is
/// smaller, |m + s^2 / 2 - log_z| / t plus sqrt(s^2 / N + s^4 / (2 (N - 1))) (Cox's method, Zhou &
/// Gao 1997). The interval is log_z -+ t std_error, where t is the 97.5% point of Student's t
/// distribution with N - 1 degrees of freedom. Warns if the ESS is below 10 (below N / 2, if that
/// is less) or the interval longer than 2.
///
/// Throws ValueError for N < 2, weights that are NaN, +inf or all -inf.
TORCH_EBM_API LogZEstimate log_z_from_weights(const at::Tensor& log_weights,
                                              const at::Tensor& log_z_base);

}  // namespace torch_ebm
