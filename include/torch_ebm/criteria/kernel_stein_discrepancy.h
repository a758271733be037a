#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API KernelSteinDiscrepancyOptions {
  /// "u": over pairs of different examples, unbiased and sometimes negative. "v": over all pairs,
  /// >= 0, and too large, for the true model, by the mean of u(x, x) over N.
  std::string statistic = "u";
  /// "imq": k(x, y) = (1 + |x - y|^2 / bandwidth^2)^exponent, whose tails are heavier than those of
  /// "rbf", exp(-|x - y|^2 / (2 bandwidth^2)). In 3 or more dimensions the discrepancy of "rbf" can
  /// vanish for samples that do not converge (Gorham & Mackey 2017).
  std::string kernel = "imq";
  /// Between -1 and 0, for "imq" only. Absent: -1/2.
  std::optional<double> exponent = std::nullopt;
  /// > 0. Absent: the median distance between two examples, whatever their weights; no gradient
  /// goes through it.
  std::optional<double> bandwidth = std::nullopt;
};

/// The squared kernel Stein discrepancy between the data and the model (Liu, Lee & Jordan 2016;
/// Chwialkowski, Strathmann & Gretton 2016). With the score s = -dE/dx it is the mean over pairs x,
/// y of examples of
///     u(x, y) = k s(x).s(y) + s(x).dk/dy + s(y).dk/dx + trace d^2k/dxdy,   k = k(x, y),
/// whose expectation under the model, in x or in y, is 0. The term of example n is the mean over m
/// of u(x_n, x_m), so that the reduction "mean" is the statistic. Examples with weights w have
/// probabilities w / sum
/// w: the statistic is then sum w_n w_m u(x_n, x_m) / sum w_n w_m over its pairs, and the term of
/// an example depends on all weights.
///
/// Consistent: in expectation, the discrepancy is 0 only for the true distribution. It fails as
/// score matching does, because only the tails of the kernel see the weights of distant modes, and
/// it loses power as the dimension grows.
///
/// x: (N, ...), floating. Time grows with N^2, and so does memory, by a few matrices (N, N): use
/// minibatches. Scores are first derivatives, so ReLU networks work.
/// Throws ValueError for unknown or invalid options, fewer than 2 examples (of weight > 0) where
/// pairs of different ones are needed, no bandwidth although half of the pairs of examples agree,
/// and an energy that has no score; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor kernel_stein_discrepancy(
    const Energy& energy, const at::Tensor& x, const CriterionOptions& criterion = {},
    const KernelSteinDiscrepancyOptions& options = {});

}  // namespace torch_ebm
