#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <vector>

#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"
#include "torch_ebm/log_z_estimate.h"

namespace torch_ebm {

/// log Z of a model while it is trained (Desjardins, Courville & Bengio 2011), from chains that train it: those of
/// TemperedPCD at every rung of a ladder. An update costs energies of these chains only. It bridges
///   - from the parameters of the last update to those of now, at every rung (log Z changes by this), and
///   - between neighbouring rungs, down to the last one, whose log Z is known (log Z is this),
/// and a Kalman filter puts both together over all updates.
///
/// The chains that the gradient was taken from do not err at random in what it changed: a gradient step raises the
/// energy exactly where they happen to be, and so the change of log Z that they see is too low, every time. The filter
/// therefore tracks each rung's drift, this common error, beside log Z. Each step adds to the variance of both that of
/// the estimated change.
///
/// The standard error is not the filter's, which takes the estimates for independent. What each of the N ladders brings
/// in goes through the same filter, and it is the spread of the N results: it knows how their samples depend on each
/// other, in time and between rungs. It does not know of chains that have not reached their laws. The interval is that
/// of Student's law of N - 1 degrees of freedom. `ess` is the least effective number of samples in the overlap of two
/// laws, as bridge_sampling has it. Warns if it is below 10, the interval longer than 2, or the bridges between rungs
/// differ from what was tracked by more than 5 standard errors.
class TORCH_EBM_API LogZTrackerImpl : public torch::nn::Module {
 public:
  /// chains: as those that update will be given, (R, N, ...), N >= 2; only shape, dtype and device count.
  /// betas: as for replica_exchange. Throws ValueError for others.
  LogZTrackerImpl(const at::Tensor& chains, const at::Tensor& betas);

  /// chains: samples of `energy` at every rung. previous: the energy of the last update; the first does not use it.
  /// log_z_base: log Z at the last rung, exactly. Call it between the negative phase and the step of the optimiser.
  /// Throws ValueError for chains of another shape, energies that are NaN, and laws that do not overlap; nothing has
  /// changed then.
  void update(const Energy& energy, const Energy& previous, const at::Tensor& chains,
              double log_z_base = 0);

  /// Takes in an estimate of log Z at rung 0, of the parameters of the last update, from samples that have nothing to
  /// do with the chains: ais, for example. Throws ValueError before the first update, and for numbers that are not
  /// finite or a standard error < 0.
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
