#pragma once

#include <cmath>

#include "torch_ebm/energy/noise.h"

namespace torch_ebm::testing {

/// Independent fair coins, n of the shape `unit_shape`.
inline NoiseDistribution fair_coins(std::vector<int64_t> unit_shape) {
  const auto sample = [unit_shape](int64_t n, const std::optional<at::Generator>& generator) {
    std::vector<int64_t> shape = unit_shape;
    shape.insert(shape.begin(), n);
    return at::bernoulli(at::full(shape, 0.5, at::kDouble), generator);
  };
  const auto log_prob = [](const at::Tensor& u) {
    return at::full({u.size(0)}, -std::log(2.0) * u.numel() / u.size(0), at::kDouble);
  };
  return {sample, log_prob};
}

}  // namespace torch_ebm::testing
