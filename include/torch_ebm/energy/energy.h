#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>
#include <ATen/core/ivalue.h>

#include <atomic>
#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "torch_ebm/common/export.h"

namespace torch::jit {
struct Module;
}

namespace torch_ebm {

/// What every sampler takes: the number of transitions, the temperature, and what to keep.
struct TORCH_EBM_API RunOptions {
  int64_t n_steps = 1;
  /// Inverse temperature: one number, shape (), or one for every chain, shape (N,). Absent means 1.
  std::optional<at::Tensor> beta = std::nullopt;
  /// Keep the states after every thin-th step; 0 keeps none.
  int64_t thin = 0;
  /// Write the last states into x. If a step throws, x holds the states of the last completed step.
  bool inplace = false;
  std::optional<at::Generator> generator = std::nullopt;
};

/// What an energy can do. E(x) = -log p(x) - log Z. Derive from this for an energy with a
/// closed-form score or a Gibbs sampler of its own; anything else becomes an Energy from a module
/// or a lambda.
class TORCH_EBM_API EnergyFunction {
 public:
  virtual ~EnergyFunction() = default;

  /// Energies, shape (N,), of a batch x of shape (N, ...). Differentiable where the caller's grad
  /// mode asks for it.
  virtual at::Tensor value(const at::Tensor& x) const = 0;

  /// Energies (N,) and scores -dE/dx, in the shape of x, both detached and in their own memory. By
  /// default through autograd.
  virtual std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const;

  /// The energy at inverse temperature beta, () or (N,) in the dtype of x: what its own Gibbs
  /// sampler, if it has one, leaves invariant there. Nothing, the default, means beta E(x) + (1 -
  /// beta) base_energy(x).
  virtual std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const;

  /// The energy E_0 at inverse temperature 0, (N,), differentiable like value: the target at beta
  /// is then exp(-beta E - (1 - beta) E_0). Nothing, the default, means 0.
  virtual std::optional<at::Tensor> base_energy(const at::Tensor& x) const;

  /// Whether it defines its own path over temperatures: whether one of the two, at states x and beta = 1, gives
  /// anything.
  virtual bool has_path(const at::Tensor& x) const;

  /// The states of the chains after run.n_steps block Gibbs steps at run.beta, or nothing if this
  /// energy has no Gibbs sampler of its own. `clamp`, boolean, (units...) or (N, units...), is true
  /// where a unit keeps its value.
  virtual std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                          const std::optional<at::Tensor>& clamp) const;

  /// The same for run.n_steps updates of single units of every binary chain, each unit drawn uniformly: a random scan.
  virtual std::optional<at::Tensor> random_scan_gibbs(const at::Tensor& x, const RunOptions& run,
                                                      const std::optional<at::Tensor>& clamp) const;

  /// The same as gibbs, in sweeps or blocks as the energy likes, for sites of K states: x is one-hot,
  /// (N, sites..., K), and `clamp`, (sites...) or (N, sites...), is true where a site keeps its state.
  virtual std::optional<at::Tensor> categorical_gibbs(const at::Tensor& x, const RunOptions& run,
                                                      const std::optional<at::Tensor>& clamp) const;

  /// The states of the binary chains after run.n_steps steps of Gibbs with gradients at run.beta
  /// and their acceptance rates (N,), or nothing if this energy has no such sampler of its own.
  virtual std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const;

  /// E(x with one unit flipped) - E(x) of binary states x, (N, ...), for the units `sites` of each,
  /// (N, m), int64, in the order of memory, or for all D: (N, m) or (N, D), differentiable in the
  /// parameters. Or nothing if this energy has no faster way than to compute both energies.
  virtual std::optional<at::Tensor> flip_differences(const at::Tensor& x,
                                                     const std::optional<at::Tensor>& sites) const;

  /// Whether the energy of each x is a function of that x alone, so that batches may be joined to one, and a call
  /// leaves x as it is. Models of this library say so; of user code it is not known.
  virtual bool is_per_example() const { return false; }

  /// The energy E(x) - field.x, for `field` like one state or like x, with samplers of its own, or
  /// nothing if there is none. It lets them follow the path from a base of independent binary
  /// units: see annealed_energy.
  virtual std::shared_ptr<const EnergyFunction> in_field(const at::Tensor& field) const;
};

/// Energies of states, already known, at one inverse temperature.
struct TORCH_EBM_API KnownEnergy {
  at::Tensor energy;  ///< (N,), float64, finite
  at::Tensor beta;    ///< (), positive
};

/// The energy that every sampler and estimator takes: one value type for every kind of energy.
/// Copies share the energy, so parameters stay those of the module it was made from.
class TORCH_EBM_API Energy {
 public:
  explicit Energy(std::shared_ptr<const EnergyFunction> function);

  /// A function from a batch (N, ...) to energies (N,).
  explicit Energy(std::function<at::Tensor(const at::Tensor&)> function);

  /// A scripted module: its forward is the energy; methods `gibbs(x, n_steps, beta, clamp,
  /// generator)`, `random_scan_gibbs` and `categorical_gibbs` with the same arguments, `gibbs_with_gradients(x, n_steps, beta, generator)`, `tempered(x, beta)`,
  /// `base_energy(x)`, `value_and_score(x)` and `flip_differences(x, sites)`, if it has them, act
  /// as those of EnergyFunction.
  explicit Energy(const torch::jit::Module& module);

  /// A C++ module (or any shared object) whose forward is the energy.
  template <typename Module>
    requires requires(Module& m, const at::Tensor& x) {
      { m.forward(x) } -> std::convertible_to<at::Tensor>;
    }
  explicit Energy(std::shared_ptr<Module> module) : Energy(wrap(std::move(module))) {}

  /// A torch::nn module holder, as TORCH_MODULE makes it.
  template <typename Holder>
    requires requires(const Holder& holder) { Energy(holder.ptr()); }
  explicit Energy(const Holder& holder) : Energy(holder.ptr()) {}

  /// What the operators take as `Any energy`: a scripted module's object, or the handle of a Python
  /// callable or of a model of this library that Python holds.
  static Energy from_ivalue(const char* op, const c10::IValue& value);

  /// With beta, () or (N,), the tempered energy, float64 unless the energy defines its own
  /// tempering.
  at::Tensor value(const at::Tensor& x, const std::optional<at::Tensor>& beta = std::nullopt) const;
  /// The tempered energies at each of K inverse temperatures, () or (N,): (K, N), float64,
  /// detached. An energy that does not define its own tempering is called once, or not at all if
  /// `known` are its energies at one of the betas.
  at::Tensor values_at(const at::Tensor& x, const std::vector<at::Tensor>& betas,
                       const std::optional<KnownEnergy>& known = std::nullopt) const;
  /// Whether it defines its own path over temperatures, by `tempered` or `base_energy`.
  bool has_path(const at::Tensor& x) const;
  std::tuple<at::Tensor, at::Tensor> value_and_score(
      const at::Tensor& x, const std::optional<at::Tensor>& beta = std::nullopt) const;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp = std::nullopt) const;
  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp = std::nullopt) const;
  std::optional<at::Tensor> categorical_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp = std::nullopt) const;
  /// Acceptance rates in float64.
  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const;
  std::optional<at::Tensor> flip_differences(
      const at::Tensor& x, const std::optional<at::Tensor>& sites = std::nullopt) const;
  std::optional<Energy> in_field(const at::Tensor& field) const;
  bool is_per_example() const { return function_->is_per_example(); }

 private:
  std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const;
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const;
  /// The base's energies and scores, if there is one.
  std::optional<std::tuple<at::Tensor, at::Tensor>> base_and_score(const at::Tensor& x) const;

  enum class Part {
    kValue,
    kScore,
    kTempered,
    kBase,
    kGibbs,
    kRandomScan,
    kCategoricalGibbs,
    kGibbsWithGradients,
    kFlips
  };
  template <typename Call>
  auto guarded(Part part, const at::Tensor& x, const Call& call) const;

  template <typename Module>
  static Energy wrap(std::shared_ptr<Module> module) {
    if constexpr (std::derived_from<Module, EnergyFunction>) {
      return Energy(std::shared_ptr<const EnergyFunction>(std::move(module)));
    } else if (!module) {
      return Energy(std::shared_ptr<const EnergyFunction>());  // throws
    } else {
      return Energy(std::function<at::Tensor(const at::Tensor&)>(
          [module = std::move(module)](const at::Tensor& x) { return module->forward(x); }));
    }
  }

  std::shared_ptr<const EnergyFunction> function_;
  /// The parts of which one call was compared before and after, for changes of x.
  std::shared_ptr<std::atomic<unsigned>> compared_ = std::make_shared<std::atomic<unsigned>>(0);
};

}  // namespace torch_ebm
