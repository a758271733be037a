#pragma once

#include <torch/library.h>

#include "csrc/common/savable.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// What all criteria share: the data, checked, and the reduction of the terms of its examples.
class Criterion {
 public:
  /// Throws unless x is a batch (N, ...) of finite numbers, N >= 1, and the options fit it.
  Criterion(const char* op, const at::Tensor& x, const CriterionOptions& options);

  /// The terms of the examples, (N,), weighted and reduced.
  at::Tensor reduce(const at::Tensor& terms) const;
  /// Whether `reduce` takes the plain mean.
  bool is_plain_mean() const { return !weights_.defined() && reduction_ == "mean"; }
  int64_t n_examples() const { return x.size(0); }
  /// The weights of the examples, (N,), float64.
  at::Tensor weights() const;

  const char* op;
  at::Tensor x;  // contiguous, without a graph
  std::optional<at::Generator> generator;

 private:
  at::Tensor weights_;  // (N,), float64; undefined if there are none
  std::string reduction_;
};

/// Whether an optional argument is given: from C++ it may hold an undefined tensor.
inline bool given(const std::optional<at::Tensor>& tensor) { return tensor && tensor->defined(); }

}  // namespace torch_ebm::detail

/// Registers a criterion: autograd goes through what it calls, above all the energy.
#define TORCH_EBM_CRITERION(name, function)                     \
  TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) { \
    m.impl(name, torch_ebm::detail::with_savable<function>);    \
  }
