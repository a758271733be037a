#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// Where log Z comes from: at least one of negative_samples and log_z must be given.
struct TORCH_EBM_API MaximumLikelihoodOptions {
  /// Samples of the model, (M, ...), which give log Z its gradient; see log_partition. They get
  /// none themselves.
  std::optional<at::Tensor> negative_samples = std::nullopt;
  /// log Z, one number, shape (), floating. With negative samples, only its value counts; without
  /// them it must itself be differentiable in the parameters, as rbm_log_z is.
  std::optional<at::Tensor> log_z = std::nullopt;
  /// Weights of the negative samples, (M,), as log_partition takes them.
  std::optional<at::Tensor> negative_weights = std::nullopt;
};

/// The negative log-likelihood of each example as a criterion, l(x) = E(x) + log Z: the reference
/// for the other criteria. log Z is log_partition(energy, negative_samples, log_z,
/// negative_weights), or, without negative samples, log_z.
///
/// Consistent, and the most efficient of all criteria, but only as good as its log Z. With negative
/// samples but no log_z the value is the energy gap, whose gradient is the same.
///
/// x: (N, ...), floating. The generator of the criterion is not used. Throws ValueError if neither
/// is given, for negative samples that do not fit x, and what log_partition throws; a NaN energy
/// gives NaN.
TORCH_EBM_API at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                                            const CriterionOptions& criterion,
                                            const MaximumLikelihoodOptions& options);
/// The mean over the examples.
TORCH_EBM_API at::Tensor maximum_likelihood(const Energy& energy, const at::Tensor& x,
                                            const MaximumLikelihoodOptions& options);

}  // namespace torch_ebm
