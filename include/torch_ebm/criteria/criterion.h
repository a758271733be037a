#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// What every criterion takes besides its own options. A criterion is a training objective, to be
/// minimised, in which Z cancels or is learned. It is differentiable in the parameters of the
/// energy, not in the data.
struct TORCH_EBM_API CriterionOptions {
  /// Weights of the examples, (N,), floating or integer, finite, >= 0, not all 0; an example of
  /// weight 0 does not count. Absent: 1.
  std::optional<at::Tensor> weights = std::nullopt;
  /// "mean": sum w_n l_n / sum w_n, shape (); "sum": sum w_n l_n, shape (); "none": w_n l_n, shape
  /// (N,).
  std::string reduction = "mean";
  /// Used by criteria that draw random numbers: one key from it for every call.
  std::optional<at::Generator> generator = std::nullopt;
};

}  // namespace torch_ebm
