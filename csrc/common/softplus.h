#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// Above it log(1 + e^x) is x even in double. torch's own threshold, 20, makes an error of 2e-9.
constexpr double kSoftplusThreshold = 40;

/// softplus with that threshold.
inline at::Tensor exact_softplus(const at::Tensor& x) {
  return at::softplus(x, /*beta=*/1, kSoftplusThreshold);
}

}  // namespace torch_ebm::detail
