#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace torch_ebm::detail {

/// A value for every chain, () or (N,), shaped to broadcast against x (N, ...).
inline at::Tensor along_chains(const at::Tensor& value, const at::Tensor& x) {
  if (value.dim() == 0) return value;
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = x.size(0);
  return value.view(shape);
}

/// The same in the dtype of x, to multiply it with.
inline at::Tensor per_chain(const at::Tensor& value, const at::Tensor& x) {
  return along_chains(value.to(x.options()), x);
}

}  // namespace torch_ebm::detail
