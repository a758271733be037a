#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// Where the noise comes from: either sigma or `noise` must be given.
struct TORCH_EBM_API ConditionalNceOptions {
  /// y = x + sigma * standard normal; finite, > 0.
  std::optional<double> sigma = std::nullopt;
  /// With sigma: how many noise samples for each example. Absent: 1.
  std::optional<int64_t> n_noise = std::nullopt;
  /// Noise samples drawn from your own distribution p_c(y | x), (N, kappa, ...), like x.
  std::optional<at::Tensor> noise = std::nullopt;
  /// With `noise`: log p_c(y | x) - log p_c(x | y), (N, kappa), floating, finite. Absent: 0, for a
  /// symmetric p_c.
  std::optional<at::Tensor> log_ratio = std::nullopt;
};

/// Conditional noise-contrastive estimation (Ceylan & Gutmann 2018), where the noise is a
/// perturbation of the data. Given an example x and its kappa noise samples y_k ~ p_c(y | x), the
/// model must tell which came first:
///     l(x) = 2 / kappa sum_k log(1 + exp(-G(x, y_k))),
///     G(x, y) = E(y) - E(x) + log p_c(y | x) - log p_c(x | y).
/// Z cancels, and the noise need not resemble the data.
///
/// Consistent if p_c leads from any state to any other. For small sigma it is 2 log 2 + sigma^2 / 2
/// times score matching, and fails in the same way: the weights of modes farther apart than sigma
/// are not learned.
///
/// x: (N, ...), floating. Throws ValueError for options out of range and noise that does not fit x;
/// a NaN energy gives NaN.
TORCH_EBM_API at::Tensor conditional_nce(const Energy& energy, const at::Tensor& x,
                                         const CriterionOptions& criterion,
                                         const ConditionalNceOptions& options);

}  // namespace torch_ebm
