#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>
#include <ATen/core/ivalue.h>

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// What a sampler returns for N chains.
struct TORCH_EBM_API Samples {
  /// The last states, (N, ...), detached; the argument itself if the run was in place.
  at::Tensor x;
  /// The mean over the steps of the Metropolis acceptance probability, (N,), float64; 1 where every
  /// step is accepted.
  at::Tensor acceptance_rate = {};
  /// The states after every `thin`-th step, (n_steps / thin, N, ...); (0, N, ...) if thin is 0.
  at::Tensor trajectory = {};
  /// The energies of x at beta, (N,), float64, detached, from samplers that compute them; otherwise
  /// nothing.
  std::optional<at::Tensor> energy = std::nullopt;
};

/// One positive number, one for every step (a schedule), or one for every chain.
class TORCH_EBM_API StepSize {
 public:
  StepSize(double value) : schedule_{value} {}                                // NOLINT
  StepSize(std::vector<double> schedule) : schedule_(std::move(schedule)) {}  // NOLINT
  StepSize(at::Tensor per_chain) : per_chain_(std::move(per_chain)) {}        // NOLINT
  /// From what the operators take as `Any step_size`: a float, a list of floats or a tensor, () or
  /// (N,).
  static StepSize from_ivalue(const char* op, const c10::IValue& value);

  /// Throws ValueError unless it fits n_chains chains that make n_steps steps, finite and positive.
  void check(const char* op, int64_t n_chains, int64_t n_steps) const;
  /// The step size of one step, () or (N,), float64 on the CPU.
  at::Tensor at(int64_t step) const;

 private:
  std::vector<double> schedule_;
  at::Tensor per_chain_;
};

/// A transition of N chains that leaves exp(-beta E) invariant: learning and tempering are built on
/// it. One value type for a sampler of this library with its options (bind_sampler) and for any
/// function. It uses only beta and the generator of the options.
class TORCH_EBM_API Sampler {
 public:
  using Function = std::function<Samples(const Energy&, const at::Tensor& x, const RunOptions&)>;

  /// None.
  Sampler() = default;
  template <typename Callable>
    requires(std::constructible_from<Function, Callable> && !std::same_as<Callable, Sampler>)
  Sampler(Callable function) : function_(std::move(function)) {}  // NOLINT
  /// One whose Samples hold the energies of the very energy that it is called with, or none.
  static Sampler of_this_library(Function function);
  /// What the operators take as `Any sampler`: a scripted module, which holds its own energy and
  /// whose forward(x, beta, generator) returns the new states; the handle of a Python callable; or an
  /// operator of this library with its options, a tuple of its name, the names of the options and
  /// their values.
  static Sampler from_ivalue(const char* op, const c10::IValue& value);

  Samples operator()(const Energy& energy, const at::Tensor& x, const RunOptions& run) const {
    return function_(energy, x, run);
  }
  explicit operator bool() const { return static_cast<bool>(function_); }
  /// Whether the energies that it reports are right. Another function may use a surrogate of the
  /// energy, or change the states afterwards.
  bool knows_energies() const { return knows_energies_; }

 private:
  Function function_;
  bool knows_energies_ = false;
};

/// `function`, a sampler of this library, with its options: every call makes run.n_steps steps.
template <typename Options>
Sampler bind_sampler(Samples (*function)(const Energy&, const at::Tensor&, const RunOptions&,
                                         const Options&),
                     RunOptions run = {}, std::type_identity_t<Options> options = {}) {
  return Sampler::of_this_library(
      [=](const Energy& energy, const at::Tensor& x, const RunOptions& call) {
        RunOptions both = run;
        both.beta = call.beta;
        both.generator = call.generator;
        return function(energy, x, both, options);
      });
}

}  // namespace torch_ebm
