#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

// Diagnostics of Markov chains, as defined by Vehtari, Gelman, Simpson, Carpenter & Buerkner
// (2021), Bayesian Analysis 16(2), and computed by ArviZ.
//
// x: (n_draws, n_chains, ...), of any floating dtype: the states of n_chains chains after n_draws
// steps, such as a trajectory. One result for each quantity: shape (...), float64, no gradient.
// Chains are split into halves first; with an odd number of draws the middle one is left out. A
// quantity that never changes has an effective size of all its draws and no R-hat (NaN). Throws
// TypeError for another dtype, ValueError for n_draws < 4, an empty x, and values that are NaN or
// infinite.

/// Rank-normalised split R-hat: the larger of that of the values and that of their distances to
/// the median. It is 1 for chains that agree, and should be below 1.01; inf for chains that are all
/// stuck at different values; NaN for n_chains = 1, since a single chain has nothing to be compared
/// with.
TORCH_EBM_API at::Tensor r_hat(const at::Tensor& x);

/// Effective number of independent draws, for the bulk of the distribution: that of rank-normalised
/// values. Correlations are summed by Geyer's (1992) initial monotone sequence; for antithetic
/// chains it exceeds their number of draws S, up to S log10 S.
TORCH_EBM_API at::Tensor ess_bulk(const at::Tensor& x);
/// The same for the tails: the smaller of those of the indicators of the 5% and 95% quantiles.
TORCH_EBM_API at::Tensor ess_tail(const at::Tensor& x);
/// The same for the mean: that of the values themselves.
TORCH_EBM_API at::Tensor ess_mean(const at::Tensor& x);

/// Monte Carlo standard error of the mean over all draws: standard deviation / sqrt(ess_mean).
TORCH_EBM_API at::Tensor mcse_mean(const at::Tensor& x);
/// Autocorrelation time 1 + 2 sum_{t >= 1} rho_t in draws, as n_draws n_chains / ess_mean.
TORCH_EBM_API at::Tensor autocorrelation_time(const at::Tensor& x);
/// rho_t for the lags t = 0, ..., n_draws - 1, (n_draws, ...), by section 3.2 of the paper: of all
/// chains together, without splitting. It stays above 0 if chains disagree. NaN for a quantity that
/// never changes.
TORCH_EBM_API at::Tensor autocorrelation(const at::Tensor& x);

/// How many trips from rung 0 to rung R - 1 and back the replicas of each chain have completed, all
/// R
/// together: (N,), int64 (Katzgraber, Trebst, Huse & Troyer 2006). replica_trace: (n_sweeps, R, N)
/// integers, the rung of every replica after every sweep. Throws TypeError for another dtype, and
/// ValueError unless R >= 2 and every sweep has one replica at each rung.
TORCH_EBM_API at::Tensor round_trips(const at::Tensor& replica_trace);

}  // namespace torch_ebm
