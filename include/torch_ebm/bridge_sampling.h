#pragma once

#include <ATen/ATen.h>

#include <string>

#include "torch_ebm/export.h"
#include "torch_ebm/log_z_estimate.h"

namespace torch_ebm {

/// log(Z_1 / Z_0) of two laws f_k / Z_k from samples of both: the estimate r solves
///     r = mean_0[f_1 a] / mean_1[f_0 a],    a the bridge (Meng & Wong 1996, eq. 4.1).
///
/// log_ratio_0, log_ratio_1: log f_1(x) / f_0(x) = E_0(x) - E_1(x) at samples of law 0 and of law 1, each (n,) of
/// independent samples, or both (T, C) of C >= 2 independent chains each; T and C may differ. -inf at samples of law 0
/// and +inf at those of law 1 say that the other law does not reach there.
/// bridge: "optimal", 1 / (n_0 f_0 / Z_0 + n_1 f_1 / Z_1), which makes it Bennett's acceptance ratio (Bennett 1976), or
/// "geometric", 1 / sqrt(f_0 f_1).
///
/// With O the sum over all samples of p (1 - p), p the probability that a sample is one of law 1, the standard error
/// is sqrt(1 / O - 1 / n_0 - 1 / n_1), that of the optimal bridge and so the least there is (Meng & Wong 1996, theorem
/// 1; Shirts et al. 2003), or that of the delta method (Bennett 1976, eq. 10a), whichever is larger. Of chains it is
/// that of a jackknife over the chains of each law. `ess` is 4 O: half as many samples of each of two equal laws would
/// do as well. `log_weights` is empty. Warns if the ESS is below 10 or the interval longer than 2.
///
/// Throws ValueError for fewer than 2 samples or chains of a law, NaN, infinite ratios of the wrong sign, another
/// bridge, and where no sample of a law lies in the reach of the other.
TORCH_EBM_API LogZEstimate bridge_sampling(const at::Tensor& log_ratio_0,
                                           const at::Tensor& log_ratio_1,
                                           const std::string& bridge = "optimal");

}  // namespace torch_ebm
