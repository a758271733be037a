#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm {

/// log(Z(betas[R - 1]) / Z(betas[0])) = -int E[dE_beta / dbeta] dbeta (Gelman & Meng 1998), by the
/// trapezoidal rule over the R temperatures, with the correction by variances that makes it fourth
/// order (Friel, Hurn & Wyse 2014, eq. 14). The correction holds for E_beta linear in beta, such as
/// beta E; for others set `corrected` to false.
///
/// betas: (R,), R >= 2, strictly monotone. derivatives: dE_beta / dbeta at samples of each
/// temperature: (R, M) of independent samples, or (R, T, C) of C independent chains each. Chain c
/// of one temperature may depend on chain c of another, as on a ladder. M >= 2, C >= 2.
///
/// The standard error is that of the samples alone. The interval is widened on both sides by an
/// estimate of the quadrature error: how much leaving out every second temperature changes the sum,
/// scaled by the order of the rule (for two temperatures, the correction itself). `ess` is the
/// number of independent samples per temperature that would have the same standard error.
/// `log_weights` is empty. Warns if the ESS is below 10 or the interval longer than 2.
///
/// Throws ValueError for other shapes, betas that are not strictly monotone, and values that are
/// not finite.
TORCH_EBM_API LogZEstimate thermodynamic_integration(const at::Tensor& betas,
                                                     const at::Tensor& derivatives,
                                                     bool corrected = true);

}  // namespace torch_ebm
