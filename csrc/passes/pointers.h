#pragma once
// What the two forms take, from tensors.

#include <ATen/ATen.h>

#include "csrc/common/per_chain.h"
#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// How many numbers a chain of x (N, ...) has.
inline int64_t units_of(const at::Tensor& x) { return x.numel() / x.size(0); }

/// Values () or (N,), contiguous.
template <typename T>
kernels::PerRow<T> per_row(const at::Tensor& values) {
  return {values.const_data_ptr<T>(), values.dim()};
}

/// Values, contiguous, of the shape of x, of one of its rows, or ().
template <typename T>
kernels::PerUnit<T> per_unit(const at::Tensor& values, const at::Tensor& x) {
  const bool in_every_row = values.numel() == x.numel();
  return {values.const_data_ptr<T>(), in_every_row ? units_of(x) : 0, values.dim() == 0};
}

/// Values () or (N,) of any dtype and device, as the kernels take them beside x.
inline at::Tensor beside(const at::Tensor& x, const at::Tensor& values) {
  return values.to(x.scalar_type()).contiguous();
}

/// The same for torch's form: shaped to broadcast against x (N, ...), on its device. A single number from the CPU is
/// filled in there, since a copy would wait for the device.
inline at::Tensor along(const at::Tensor& x, const at::Tensor& values) {
  if (values.dim() > 0 || !values.is_cpu()) return detail::per_chain(values, x);
  return at::full({}, values.item(), x.options());
}

/// A number for every chain of x, float64, not set.
inline at::Tensor one_per_chain(const at::Tensor& x) {
  return at::empty({x.size(0)}, x.options().dtype(at::kDouble));
}

}  // namespace torch_ebm::passes
