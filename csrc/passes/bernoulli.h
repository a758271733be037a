#pragma once

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"
#include "csrc/passes/flag.h"

namespace torch_ebm::passes {

/// field <- 1 with probability sigmoid(beta (field + bias)), else 0, in place. field: (N, M), contiguous; bias: (M,),
/// contiguous; beta: () or (N,). At least float. Where a logit is NaN the result is 0 and the flag is raised.
void sample_bernoulli_(at::Tensor& field, const at::Tensor& bias, const at::Tensor& beta,
                       kernels::Draw draw, Flag& nan);

/// Throws if a logit was NaN.
void check_no_nan_logit(const char* op, bool nan);

/// The same, and throws at once.
void sample_bernoulli_(const char* op, at::Tensor& field, const at::Tensor& bias,
                       const at::Tensor& beta, kernels::Draw draw);

}  // namespace torch_ebm::passes
