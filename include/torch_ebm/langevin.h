#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API LangevinOptions {
  int64_t n_steps = 1;
  double step_size = 0.01;
  std::optional<at::Generator> generator = std::nullopt;
};

/// The unadjusted Langevin algorithm (Parisi 1981): N chains,
///     x <- x - step_size dE/dx + sqrt(2 step_size) xi,   xi ~ N(0, 1).
/// Leaves p invariant only as step_size -> 0: on N(0, 1) its variance is 1 / (1 - step_size / 2).
///
/// x: (N, ...), floating. Returns the new states, detached, in the shape of x.
/// Throws ValueError for no chains, n_steps < 1, step_size <= 0, and for a score that is not finite (the
/// chain and the step are named).
TORCH_EBM_API at::Tensor langevin(const Energy& energy, const at::Tensor& x,
                                  const LangevinOptions& options = {});

}  // namespace torch_ebm
