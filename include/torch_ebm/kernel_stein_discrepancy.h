#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API KernelSteinDiscrepancyOptions {
  /// "u": over pairs of different examples, unbiased and now and then negative. "v": over all pairs, >= 0, and too large
  /// by the mean of u(x, x) over N at the truth.
  std::string statistic = "u";
  /// "imq": k(x, y) = (1 + |x - y|^2 / bandwidth^2)^exponent, whose tails see what "rbf",
  /// exp(-|x - y|^2 / (2 bandwidth^2)), does not: in 3 dimensions and more the discrepancy of "rbf" can vanish for
  /// samples that do not converge (Gorham & Mackey 2017).
  std::string kernel = "imq";
  /// Between -1 and 0, of "imq" alone. Absent: -1/2.
  std::optional<double> exponent = std::nullopt;
  /// > 0. Absent: the median distance of two different examples, whatever their weights; no gradient goes through it.
  std::optional<double> bandwidth = std::nullopt;
};

/// The squared kernel Stein discrepancy of the data and the model (Liu, Lee & Jordan 2016; Chwialkowski, Strathmann &
/// Gretton 2016). With the score s = -dE/dx it is the mean over pairs x, y of examples of
///     u(x, y) = k s(x).s(y) + s(x).dk/dy + s(y).dk/dx + trace d^2k/dxdy,   k = k(x, y),
/// whose expectation under the model, in x or in y, is 0. The term of example n is the mean over m of u(x_n, x_m), so
/// that the reduction "mean" is the statistic. Examples of weights w have the law w / sum w: the statistic is then
/// sum w_n w_m u(x_n, x_m) / sum w_n w_m over its pairs, and the term of an example depends on the weights of all.
///
/// Consistent: over laws the discrepancy is 0 for the true one alone. It fails as score matching does, the weights of
/// modes that are far apart being seen through the kernel's tails alone, and fades as dimensions grow.
///
/// x: (N, ...), floating. Time grows with N^2, and so does memory, by a few matrices (N, N): take minibatches. A score
/// is a first derivative: a network of ReLU units is no obstacle.
/// Throws ValueError for unknown or wrong options, fewer than 2 examples (of weight > 0) where pairs of different ones
/// are needed, examples half of which agree and no bandwidth, and an energy that has no score; NaN energies come
/// through.
TORCH_EBM_API at::Tensor kernel_stein_discrepancy(
    const Energy& energy, const at::Tensor& x, const CriterionOptions& criterion = {},
    const KernelSteinDiscrepancyOptions& options = {});

}  // namespace torch_ebm
