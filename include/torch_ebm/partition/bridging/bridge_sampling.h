#pragma once

#include <ATen/ATen.h>

#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm {

/// log(Z_1 / Z_0) of two distributions f_k / Z_k from samples of both: the estimate r solves
///     r = mean_0[f_1 a] / mean_1[f_0 a],    a the bridge (Meng & Wong 1996, eq. 4.1).
///
/// log_ratio_0, log_ratio_1: log f_1(x) / f_0(x) = E_0(x) - E_1(x) at samples of distribution 0 and
/// of distribution 1, each (n,) of independent samples, or both (T, C) of C >= 2 independent chains
/// each; T and C may differ. -inf at samples of distribution 0 and +inf at those of distribution 1
/// mean that the other density is 0 there.
/// bridge: "optimal", 1 / (n_0 f_0 / Z_0 + n_1 f_1 / Z_1), which makes it Bennett's acceptance
/// ratio (Bennett 1976), or "geometric", 1 / sqrt(f_0 f_1).
///
/// Let O be the sum of p (1 - p) over all samples, with p the probability that a sample comes from
/// distribution 1. The standard error is the larger of sqrt(1 / O - 1 / n_0 - 1 / n_1), that of the
/// optimal bridge and so the smallest possible (Meng & Wong 1996, theorem 1; Shirts et al. 2003),
/// and that of the delta method (Bennett 1976, eq. 10a). For chains it comes from a jackknife over
/// the chains of each distribution. `ess` is 4 O: the estimate is as precise as one from half as
/// many samples of each of two equal distributions. `log_weights` is empty. Warns if the ESS is
/// below 10 or the interval longer than 2.
///
/// Throws ValueError for fewer than 2 samples or chains of a distribution, NaN, infinite ratios of
/// the wrong sign, an unknown bridge, and if no sample of one distribution lies where the other is
/// positive.
TORCH_EBM_API LogZEstimate bridge_sampling(const at::Tensor& log_ratio_0,
                                           const at::Tensor& log_ratio_1,
                                           const std::string& bridge = "optimal");

}  // namespace torch_ebm
