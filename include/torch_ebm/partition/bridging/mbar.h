#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// The result of mbar for K states, in float64.
struct TORCH_EBM_API MBAREstimate {
  at::Tensor log_z;       ///< log Z_k / Z_0, (K,); the first is 0
  at::Tensor covariance;  ///< of log_z, (K, K); first row and column are 0
  /// (K, K): the mean probability that a sample of state i belongs to state j; 0 where j has no
  /// samples.
  at::Tensor overlap;
};

/// log Z of K states from samples of some or all of them: the multistate Bennett acceptance ratio
/// (Shirts & Chodera 2008, eqs. 11-12), the bridge estimator of least asymptotic variance.
///
/// energies: (K, N), floating: E_k(x_n), including the inverse temperature, of every sample at
/// every state; +inf where a state forbids a sample. counts: (K,), int64, the number of samples of
/// each state, which add up to N; a state may have none. The order of the samples, and which state
/// each came from, do not matter.
///
/// The covariance is the asymptotic one of independent samples (their eq. 8). The equations are
/// solved to 1e-10 in log_z by Newton's method, with self-consistent iterations where it makes no
/// progress. Constants in the energies of a state or of a sample are taken off first, so that their size does
/// not matter; float32 energies had them rounded off before. Memory, apart from the arguments, does not grow
/// with K N.
///
/// Throws ValueError for other shapes, counts that do not fit, energies that are NaN or -inf, a
/// state that forbids every sample, states in groups that hardly overlap, so that no ratio between the groups
/// is known, and equations that 500 iterations did not solve.
TORCH_EBM_API MBAREstimate mbar(const at::Tensor& energies, const at::Tensor& counts);

/// What each sample counts for in a mean over each state, (K, N), float64: W of eq. 9, transposed. Every row
/// adds up to 1. Arguments as for mbar.
TORCH_EBM_API at::Tensor mbar_weights(const at::Tensor& energies, const at::Tensor& counts);

/// Means over every state, in float64.
struct TORCH_EBM_API MBARExpectation {
  at::Tensor mean;       ///< (K, ...)
  at::Tensor std_error;  ///< (K, ...): asymptotic, of independent samples; that of log_z is in it
};

/// The means of `values`, (N, ...), one value or several of every sample, over every state, from the samples of
/// all (eqs. 13-15). Other arguments as for mbar.
TORCH_EBM_API MBARExpectation mbar_expectation(const at::Tensor& energies, const at::Tensor& counts,
                                               const at::Tensor& values);

}  // namespace torch_ebm
