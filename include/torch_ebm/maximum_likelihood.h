#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

/// Where log Z comes from: at least one of negative_samples and log_z must be given.
struct TORCH_EBM_API MaximumLikelihoodOptions {
  /// Samples of the model, (M, ...), of which log Z has its gradient; see log_partition. They get none.
  std::optional<at::Tensor> negative_samples = std::nullopt;
  /// log Z, one number, shape (), floating. Beside negative samples its value alone counts; without them it must be
  /// differentiable in the parameters itself, as rbm_log_z is.
  std::optional<at::Tensor> log_z = std::nullopt;
  /// Weights of the negative samples, (M,), as log_partition takes them.
  std::optional<at::Tensor> negative_weights = std::nullopt;
};

/// The negative log likelihood of each example, l(x) = E(x) + log Z: what the other criteria are compared with, as a
/// criterion like them. log Z is log_partition(energy, negative_samples, log_z, negative_weights), or, without negative
/// samples, log_z.
///
/// Consistent and, of all criteria, the most efficient; as good as its log Z. With negative samples but no log_z the
/// value is the energy gap, whose gradient is the same.
///
/// x: (N, ...), floating. The generator of the criterion is not used. Throws ValueError where neither is given, for
/// negative samples that do not fit x, and what log_partition throws; NaN energies come through.
TORCH_EBM_API at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                                            const CriterionOptions& criterion,
                                            const MaximumLikelihoodOptions& options);

}  // namespace torch_ebm
