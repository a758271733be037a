#pragma once

#include <functional>
#include <tuple>
#include <vector>

#include "csrc/common/grad_mode.h"
#include "csrc/common/per_chain.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/passes/choice.h"
#include "csrc/passes/flag.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm::detail {

/// What all samplers share: the checks of their common arguments, the loop over steps, the trajectory, the
/// acceptance rate, progress, and what is left behind when a step throws.
///
///     ChainRun chains(kOp, x, run);            // checks
///     ...                                      // checks of the sampler's own, first energies
///     return chains.run([&](int64_t step) {    // replaces chains.x as its last act
///       ...
///       return acceptance;                     // (N,), or an undefined tensor: all are accepted
///     });
class ChainRun {
 public:
  ChainRun(const char* op, const at::Tensor& x, const RunOptions& run);
  ChainRun(const ChainRun&) = delete;

  Samples run(const std::function<at::Tensor(int64_t step)>& step);
  /// The result of a run whose steps were made elsewhere: its last states, and its acceptance
  /// rates, (N,), float64 (undefined: all are accepted).
  Samples finished(const at::Tensor& last_states, const at::Tensor& acceptance_rate);

  /// To be called occasionally within a long step: lets the progress handler stop it.
  void within_step() { progress_.step(step_); }

  /// The random numbers of one pass of the current step.
  kernels::Draw draw(uint32_t stream) const;
  /// One uniform number in (0, 1) per chain, (N,), float64.
  at::Tensor uniform(uint32_t stream) const;
  int64_t n_chains() const { return x.size(0); }

  /// Throws if a value of a chain is not finite, naming the chain and the step; at once where the kernels' passes run.
  /// On other devices to look is to wait, in every step: there the first chain and step are noted on the device, and
  /// run() throws at the end what it would have thrown then. `only_if`: looks only if that flag is raised.
  void check_finite(const char* what, const at::Tensor& values, int64_t step);
  void check_finite(const char* what, const at::Tensor& values, int64_t step,
                    const passes::Flag& only_if);
  /// `next`, or the states x of before once something was noted: what the energy gets stays finite, and a run in place
  /// leaves the last good states.
  at::Tensor unless_noted(const at::Tensor& next) const;

  /// The states after the last completed step, (N, ...), contiguous.
  at::Tensor x;
  /// Their energies, (N,), float64, tempered, from steps that compute them.
  std::optional<at::Tensor> energy;
  /// Inverse temperatures, () or (N,), float64, if there are any.
  std::optional<at::Tensor> beta;

 private:
  void leave(const at::Tensor& last_states) const;
  void note(const char* what, const at::Tensor& bad, int64_t step);
  void throw_what_was_noted() const;

  NoGradMode no_grad_;
  const char* op_;
  RunOptions run_;
  at::Tensor start_;
  Progress progress_;
  uint64_t key_ = 0;
  int64_t step_ = 0;
  struct Look {
    const char* what;
    int64_t step;
  };
  std::vector<Look> looks_;  // that were not waited for
  at::Tensor first_bad_;  // (), int64: of the first look and chain, look * N + chain, or kNoneBad
};

/// What a sampler's operator returns.
using SamplesTuple = std::tuple<at::Tensor, at::Tensor, at::Tensor, std::optional<at::Tensor>>;
inline SamplesTuple as_tuple(Samples samples) {
  return {samples.x, samples.acceptance_rate, samples.trajectory, samples.energy};
}

/// Memory for the states that a run keeps, each like x: (n_steps / thin, ...), none if thin is 0.
at::Tensor empty_trajectory(const RunOptions& run, const at::Tensor& x);
/// Sums over all but the first dimension, (N,), in float64.
at::Tensor sum_units(const at::Tensor& x);

using passes::where_chains;  // of tensors

/// min(1, exp(log_ratio)), (N,), float64; 0 if the ratio is NaN or the proposal's energy not finite.
at::Tensor acceptance_probability(const at::Tensor& log_ratio, const at::Tensor& proposed_energy);

/// Which chains accept a proposal (Metropolis et al. 1953; Hastings 1970).
struct Decision {
  at::Tensor accepted;     // (N,), boolean
  at::Tensor probability;  // (N,), float64

  at::Tensor choose(at::Tensor proposal, const at::Tensor& current) const {
    return where_chains(accepted, std::move(proposal), current);
  }
};
Decision metropolis(const at::Tensor& log_ratio, const at::Tensor& proposed_energy,
                    const at::Tensor& uniform);

/// Throws if a value of a chain is not finite, naming the chain and the step.
void check_chains_finite(const char* op, const char* what, const at::Tensor& values, int64_t step);

}  // namespace torch_ebm::detail
