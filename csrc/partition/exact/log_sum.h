#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "csrc/common/progress.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// How many states are evaluated at once.
inline constexpr int64_t kStatesAtOnce = 16384;

/// log sum_{i < total} exp(t_i), in float64, batch by batch; terms(begin, end) holds t_i of a batch, in any shape.
template <typename Terms>
at::Tensor log_sum_in_batches(const char* op, int64_t total, int64_t batch, Terms terms) {
  std::vector<at::Tensor> parts;
  Progress progress(op, total);
  for (int64_t begin = 0; begin < total; begin += batch) {
    const int64_t end = std::min(begin + batch, total);
    parts.push_back(at::logsumexp(terms(begin, end).to(at::kDouble).flatten(), {0}));
    progress.step(end);
  }
  return at::logsumexp(at::stack(parts), {0});
}

/// -E(x), float64, of states none of which may have the energy NaN or -inf.
inline at::Tensor checked_negative_energies(const char* op, const Energy& energy,
                                            const at::Tensor& x) {
  const at::Tensor energies = energy.value(x);
  TORCH_CHECK_VALUE(!at::isnan(energies).logical_or(at::isneginf(energies)).any().item<bool>(), op,
                    ": the energy of some state is NaN or -inf; likely its parameters are not "
                    "finite");
  return -energies.to(at::kDouble);
}

}  // namespace torch_ebm::detail
