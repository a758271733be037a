#pragma once

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/partition/log_z_estimate.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// The run of replica exchange from which the estimators over a ladder take their samples.
struct TORCH_EBM_API LadderRun {
  int64_t n_steps = 1000;  ///< whose states count
  int64_t n_burn_in = 0;   ///< steps before them
  std::optional<at::Generator> generator = std::nullopt;
};

struct TORCH_EBM_API LadderEnergies {
  /// Tempered energies: those at rung i of the states of rung j, (R, R, n_steps, N) for i, j, step
  /// and chain, float64.
  at::Tensor energies;
  at::Tensor x;          ///< the last states, (R, N, ...)
  at::Tensor swap_rate;  ///< of the whole run, including burn-in, (R - 1,)
};

/// Runs replica_exchange and keeps the energies that mbar, bridge_sampling and
/// thermodynamic_integration need.
TORCH_EBM_API LadderEnergies ladder_energies(const Energy& energy, const at::Tensor& x,
                                             const at::Tensor& betas, const Sampler& sampler,
                                             const LadderRun& run = {});

struct TORCH_EBM_API TemperedLogZOptions {
  /// log Z of the last rung, for example of beta = 0.
  double log_z_base = 0;
  /// "mbar"; "bridge", the sum over neighbouring rungs of Bennett's ratios; or
  /// "thermodynamic_integration", along straight lines between the energies of neighbouring rungs.
  std::string method = "mbar";
};

/// log Z of the first rung of N independent ladders that exchange replicas, given that of the last.
///
/// The standard error is that of a jackknife over the ladders, in at most 20 groups: it accounts
/// for the dependence of the samples, within a chain and between rungs. The interval of
/// thermodynamic integration is widened on both sides by an estimate of the quadrature error. `ess`
/// is the smallest effective number of samples in the overlap of two neighbouring rungs, as in
/// bridge_sampling, as if they were independent; `log_weights` is empty, `betas` is the ladder.
/// Warns if the ESS is below 10 or the interval longer than 2.
///
/// x: (R, N, ...), N >= 2; betas: as for replica_exchange. Throws ValueError for invalid arguments,
/// energies that are NaN, and rungs that do not overlap.
TORCH_EBM_API LogZEstimate tempered_log_z(const Energy& energy, const at::Tensor& x,
                                          const at::Tensor& betas, const Sampler& sampler,
                                          const LadderRun& run = {},
                                          const TemperedLogZOptions& options = {});

}  // namespace torch_ebm
