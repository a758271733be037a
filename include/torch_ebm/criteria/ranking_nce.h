#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/energy/noise.h"

namespace torch_ebm {

/// The ranking form of noise-contrastive estimation (Ma & Collins 2018; InfoNCE, van den Oord et
/// al. 2018): the model must pick the example x among its nu noise samples y_k,
///     l(x) = -log( exp s(x) / (exp s(x) + sum_k exp s(y_k)) ),   s(u) = -E(u) - log p_noise(u).
/// Z cancels, and so does a constant in the log density of the noise.
///
/// Consistent if the noise has positive density wherever the data have. As nu grows, it becomes as
/// efficient as maximum likelihood. Like nce, it fails where noise is easily told from data.
///
/// x: (N, ...), floating. The generator of the criterion is not used: the noise is drawn before, by
/// draw_noise. Throws as nce does.
TORCH_EBM_API at::Tensor ranking_nce(const Energy& energy, const at::Tensor& x,
                                     const NoiseSamples& noise,
                                     const CriterionOptions& criterion = {});

}  // namespace torch_ebm
