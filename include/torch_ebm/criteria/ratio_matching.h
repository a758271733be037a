#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API RatioMatchingOptions {
  /// Estimate the sum from this many units of every example, drawn without replacement. Absent:
  /// all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// How many states the energy is given at a time; see PseudolikelihoodOptions.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// Ratio matching (Hyvarinen 2007, equation 17) of binary data: for each example
///     l(x) = sum_i g(p(x) / p(x^i))^2 = sum_i sigmoid(E(x) - E(x^i))^2,   g(u) = 1 / (1 + u),
/// where x^i is x with unit i flipped. It is the sum over the units, not their mean.
///
/// Consistent: up to a constant it is the squared distance between the model's and the data's
/// ratios of neighbouring probabilities, after the transform g. It fails as the pseudolikelihood
/// does, since only neighbours are compared.
///
/// x: (N, ...) of zeros and ones, floating. An energy with `flip_differences`, such as an RBM,
/// computes the differences itself. Throws ValueError for other states and options out of range; a
/// NaN energy gives NaN.
TORCH_EBM_API at::Tensor ratio_matching(const Energy& energy, const at::Tensor& x,
                                        const CriterionOptions& criterion = {},
                                        const RatioMatchingOptions& options = {});

}  // namespace torch_ebm
