#pragma once

#include <string>

#include "torch_ebm/export.h"
#include "torch_ebm/log_z_estimate.h"
#include "torch_ebm/sampler.h"

namespace torch_ebm {

/// The run of replica exchange that the estimators of a ladder take their samples from.
struct TORCH_EBM_API LadderRun {
  int64_t n_steps = 1000;  ///< whose states count
  int64_t n_burn_in = 0;   ///< steps before them
  std::optional<at::Generator> generator = std::nullopt;
};

struct TORCH_EBM_API LadderEnergies {
  /// The energies at every rung of the states of every rung, tempered: (R at, R of, n_steps, N), float64.
  at::Tensor energies;
  at::Tensor x;          ///< the last states, (R, N, ...)
  at::Tensor swap_rate;  ///< of the run, burn-in included, (R - 1,)
};

/// Runs replica_exchange (which see) and keeps what mbar, bridge_sampling and thermodynamic_integration need of it.
TORCH_EBM_API LadderEnergies ladder_energies(const Energy& energy, const at::Tensor& x,
                                             const at::Tensor& betas, const Sampler& sampler,
                                             const LadderRun& run = {});

struct TORCH_EBM_API TemperedLogZOptions {
  /// log Z of the last rung, for example of beta = 0.
  double log_z_base = 0;
  /// "mbar"; "bridge", the sum over neighbouring rungs of Bennett's ratios; or "thermodynamic_integration", along
  /// straight lines between the energies of neighbouring rungs.
  std::string method = "mbar";
};

/// log Z of the first rung of N independent ladders that exchange replicas, given that of the last.
///
/// The standard error is that of a jackknife over the ladders, in at most 20 groups: it knows how the samples depend on
/// each other, within a chain and between rungs. The interval of thermodynamic integration is longer on both sides by
/// its estimate of what the rule leaves out. `ess` is the least effective number of samples in the overlap of two
/// neighbouring rungs, as bridge_sampling has it, as if they were independent; `log_weights` is empty, `betas` the
/// ladder. Warns if the ESS is below 10 or the interval longer than 2.
///
/// x: (R, N, ...), N >= 2; betas: as for replica_exchange. Throws ValueError for other arguments, energies that are NaN,
/// and rungs that do not overlap.
TORCH_EBM_API LogZEstimate tempered_log_z(const Energy& energy, const at::Tensor& x,
                                          const at::Tensor& betas, const Sampler& sampler,
                                          const LadderRun& run = {},
                                          const TemperedLogZOptions& options = {});

}  // namespace torch_ebm
