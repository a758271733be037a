#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include <optional>

#include "csrc/common/random.h"

namespace torch_ebm::detail {

/// The random numbers of one call of a criterion, all of them functions of one key. Key and numbers come
/// from operators: a compiled criterion thus draws anew in every call, and what transforms it (functorch)
/// sees numbers and not how they are made.
class Draws {
 public:
  /// Draws the key, from `generator` or from the default generator of the device of x.
  Draws(const std::optional<at::Generator>& generator, const at::Tensor& x);

  /// Uniform numbers in (0, 1) and normal numbers like x, (N, ...).
  at::Tensor uniform(const at::Tensor& x, Stream stream, int64_t step = 0) const;
  at::Tensor normal(const at::Tensor& x, Stream stream, int64_t step = 0) const;

 private:
  at::Tensor key_;  // (), int64
};

}  // namespace torch_ebm::detail
