#pragma once

#include <ATen/ATen.h>

#include <string>

#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API WarmUpOptions {
  int64_t n_steps = 1000;
  /// The mean acceptance to aim at, in (0, 1). Absent: 0.8, and 0.574 for MALA (Roberts & Rosenthal
  /// 1998).
  std::optional<double> target_acceptance = std::nullopt;
  /// Leapfrog steps of a transition; for "hmc".
  int64_t n_leapfrog = 10;
  /// For "nuts".
  int64_t max_depth = 10;
  /// Inverse temperature, () or (N,).
  std::optional<at::Tensor> beta = std::nullopt;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Where the chains are after a warm-up, and what to call their sampler with from there.
struct TORCH_EBM_API WarmUp {
  at::Tensor x;             // (N, ...)
  at::Tensor step_size;     // (), float64
  at::Tensor inverse_mass;  // the shape and dtype of one state
};

/// Runs `sampler`, "mala", "hmc" or "nuts", and adapts its step size by dual averaging (Hoffman &
/// Gelman 2014) and its diagonal inverse mass to the variances: the first 15 in 100 steps (75 at
/// most) and the last 20 are for the step size alone, those between for both, in windows that
/// double in length (Stan reference manual, "HMC algorithm parameters"; the last part is longer
/// here). All chains share one step size and one mass: they pool their acceptance and their states.
/// While these change the sampler is not exact; they are fixed in what is returned, so sampling
/// from there on is.
///
/// x: (N, ...), floating.
/// Throws ValueError for another sampler, n_steps < 20, target_acceptance
/// outside (0, 1), and what the sampler refuses.
TORCH_EBM_API WarmUp warm_up(const Energy& energy, const at::Tensor& x, const std::string& sampler,
                             const WarmUpOptions& options = {});

}  // namespace torch_ebm
