#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm {

/// log Z of a model during training (Desjardins, Courville & Bengio 2011), from the chains that
/// train it: those of TemperedPCD at every rung of a ladder. An update costs only energies of these
/// chains. It bridges
///   - at every rung, from the parameters of the last update to the current ones (the change of
///     log Z), and
///   - between neighbouring rungs, down to the last one, whose log Z is known (log Z itself),
/// and a Kalman filter combines both over all updates.
///
/// The chains that gave the gradient have a systematic error in the change that it makes: a
/// gradient step raises the energy exactly where they happen to be, and so the change of log Z that
/// they see is always too low. The filter therefore tracks each rung's drift, this common error,
/// beside log Z. Each step adds the variance of the estimated change to that of both.
///
/// The standard error is not that of the filter, which treats the estimates as independent. The
/// contribution of each of the N ladders goes through the same filter, and the standard error is
/// the spread of the N results. It thus accounts for the dependence of their samples, in time and
/// between rungs. It does not account for chains that have not converged. The interval is that of
/// Student's t distribution with N - 1 degrees of freedom. `ess` is the smallest effective number
/// of samples in the overlap of two distributions, as in bridge_sampling. Warns if it is below 10,
/// the interval longer than 2, or the bridges between rungs differ from the tracked values by more
/// than 5 standard errors.
class TORCH_EBM_API LogZTrackerImpl : public torch::nn::Module {
 public:
  /// chains: like those that update will be given, (R, N, ...), N >= 2; only shape, dtype and
  /// device count.
  /// betas: as for replica_exchange. Throws ValueError for invalid arguments.
  LogZTrackerImpl(const at::Tensor& chains, const at::Tensor& betas);

  /// chains: samples of `energy` at every rung. previous: the energy of the last update; the first
  /// does not use it.
  /// log_z_base: the exact log Z at the last rung. Call this between the negative phase and the
  /// optimiser's step.
  /// Throws ValueError for chains of another shape, energies that are NaN, and distributions that
  /// do not overlap; the tracker is then unchanged.
  void update(const Energy& energy, const Energy& previous, const at::Tensor& chains,
              double log_z_base = 0);

  /// Adds an independent estimate of log Z at rung 0, for the parameters of the last update. It
  /// must come from samples unrelated to the chains, for example from ais. Throws ValueError before
  /// the first update, and for numbers that are not finite or a standard error < 0.
  void anchor(const LogZEstimate& estimate);

  /// Of rung 0. Throws ValueError before the first update.
  LogZEstimate estimate() const;

  /// Of all rungs, (R,), float64. Throws ValueError before the first update.
  at::Tensor log_z() const;

 private:
  std::vector<at::Tensor> track() const;
  void set_track(const std::vector<at::Tensor>& track);

  at::Tensor betas_;
};
TORCH_MODULE(LogZTracker);

}  // namespace torch_ebm
