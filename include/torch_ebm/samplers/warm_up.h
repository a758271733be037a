#pragma once

#include <ATen/ATen.h>

#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API WarmUpOptions {
  int64_t n_steps = 1000;
  /// The mean acceptance rate to aim for, in (0, 1). Absent: 0.8, and 0.574 for MALA (Roberts &
  /// Rosenthal 1998).
  std::optional<double> target_acceptance = std::nullopt;
  /// Leapfrog steps per transition; for "hmc".
  int64_t n_leapfrog = 10;
  /// For "nuts".
  int64_t max_depth = 10;
  /// Inverse temperature, () or (N,).
  std::optional<at::Tensor> beta = std::nullopt;
  std::optional<at::Generator> generator = std::nullopt;
};

/// The states of the chains after a warm-up, and the parameters for their sampler.
struct TORCH_EBM_API WarmUp {
  at::Tensor x;             // (N, ...)
  at::Tensor step_size;     // (), float64
  at::Tensor inverse_mass;  // the shape and dtype of one state
};

/// Runs `sampler`, "mala", "hmc" or "nuts", and adapts its step size by dual averaging (Hoffman &
/// Gelman 2014) and its diagonal inverse mass to the variances: the first 15 in 100 steps (75 at
/// most) and the last 20 adapt the step size alone. The steps between adapt both, in windows that
/// double in length (Stan reference manual, "HMC algorithm parameters"; the last part is longer
/// here). All chains share one step size and one mass, and pool their acceptance rates and states.
/// The sampler is not exact during adaptation. The returned values are fixed, so sampling from
/// there is exact.
///
/// x: (N, ...), floating.
/// Throws ValueError for an unknown sampler, n_steps < 20, target_acceptance outside (0, 1), and as
/// the sampler does.
TORCH_EBM_API WarmUp warm_up(const Energy& energy, const at::Tensor& x, const std::string& sampler,
                             const WarmUpOptions& options = {});

}  // namespace torch_ebm
