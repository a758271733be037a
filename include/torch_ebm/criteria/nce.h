#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/energy/noise.h"

namespace torch_ebm {

struct TORCH_EBM_API NceOptions {
  /// log Z, one number, shape (), floating, which gets a gradient: learn it along with the
  /// parameters of the energy. Absent: 0; the energy then learns to be normalised, for which it
  /// needs a constant term of its own.
  std::optional<at::Tensor> log_z = std::nullopt;
};

/// Noise-contrastive estimation (Gutmann & Hyvarinen 2010, 2012): the logistic loss of telling each
/// example x from its nu noise samples y_k, with log nu as the prior log odds,
///     l(x) = -log sigmoid(G(x) - log nu) - sum_k log sigmoid(log nu - G(y_k)),
///     G(u) = -E(u) - log_z - log p_noise(u).
/// The noise terms of an example are summed: the mean over the data is that of the data terms plus
/// nu times the mean over the noise.
///
/// Consistent, also for log Z, if the noise has positive density wherever the data have. As nu
/// grows, it becomes as efficient as maximum likelihood. It fails where noise is easily told from
/// data: the loss is then near 0 for many wrong models.
///
/// x: (N, ...), floating. The generator of the criterion is not used: the noise is drawn before, by
/// draw_noise. Throws ValueError for noise that does not fit x, and for log densities that are not
/// finite (the message names the first example); a NaN energy gives NaN.
TORCH_EBM_API at::Tensor nce(const Energy& energy, const at::Tensor& x, const NoiseSamples& noise,
                             const CriterionOptions& criterion = {},
                             const NceOptions& options = {});

}  // namespace torch_ebm
