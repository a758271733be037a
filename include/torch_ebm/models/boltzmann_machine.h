#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <optional>
#include <tuple>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

// The fully visible Boltzmann machine (Ackley, Hinton & Sejnowski 1985): D units that are 0 or 1,
//     E(x) = -b.x - x W x / 2,
// weight W (D, D), bias b (D,), both of one floating dtype and device. Only the symmetric part of W
// counts, without its diagonal, so W may be trained as an unconstrained matrix.

/// Energies E(x), shape (N,), of x (N, D). Differentiable any number of times in all arguments.
TORCH_EBM_API at::Tensor boltzmann_energy(const at::Tensor& x, const at::Tensor& weight,
                                          const at::Tensor& bias);

/// E(x with one unit flipped) - E(x) = (2 x_i - 1) (b + W x)_i of x (N, D), zeros and ones, for all
/// units, (N, D), or for the units `sites` of each, (N, m), int64: (N, m). Differentiable in the
/// parameters any number of times.
TORCH_EBM_API at::Tensor boltzmann_flip_differences(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
    const std::optional<at::Tensor>& sites = std::nullopt);

/// run.n_steps sweeps of single-site Gibbs updates in the order of the units (Geman & Geman 1984):
/// x_i = 1 with probability sigmoid(beta (b + W x)_i). Leaves exp(-beta E(x)) exactly invariant.
///
/// x: (N, D) of zeros and ones. clamp: (D,) or (N, D). Returns the new states, detached.
/// The random numbers of chain i depend on the generator's next key, i, the step and the unit
/// alone, and so do its states: not on the number of chains or threads. Computed on the CPU, in
/// float at least.
/// Throws ValueError for states other than 0 and 1, N = 0, n_steps < 1, beta < 0, parameters that
/// are not finite or so large that sums of them are not, wrong shapes; TypeError for other dtypes.
TORCH_EBM_API at::Tensor boltzmann_gibbs(const at::Tensor& x, const at::Tensor& weight,
                                         const at::Tensor& bias, const RunOptions& run = {},
                                         const std::optional<at::Tensor>& clamp = std::nullopt);

/// The same with a random scan: run.n_steps updates of one unit of every chain, drawn uniformly.
TORCH_EBM_API at::Tensor boltzmann_random_scan_gibbs(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
    const RunOptions& run = {}, const std::optional<at::Tensor>& clamp = std::nullopt);

/// Gibbs with gradients (Grathwohl, Swersky, Hashemi, Duvenaud & Maddison 2021, algorithm 1). A
/// step proposes to flip one unit, i with probability softmax(d / 2)_i, where d_i is the change of
/// -beta E by the flip (the energy is quadratic, so the gradient gives it exactly), and accepts or
/// rejects by Metropolis-Hastings. Leaves exp(-beta E(x)) exactly invariant.
///
/// x, guarantees and errors: as in boltzmann_gibbs. Returns the new states, detached, and the mean
/// acceptance probability of every chain, (N,), float64.
TORCH_EBM_API std::tuple<at::Tensor, at::Tensor> boltzmann_gibbs_with_gradients(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
    const RunOptions& run = {});

/// The machine as a module: forward(x) is the energy E(x). Its parameters are named as in the
/// Python module, so that state dicts can be exchanged freely.
class TORCH_EBM_API BoltzmannMachineImpl : public torch::nn::Cloneable<BoltzmannMachineImpl>,
                                           public EnergyFunction {
 public:
  /// Weights ~ N(0, 0.01^2), biases 0.
  explicit BoltzmannMachineImpl(int64_t n_units);
  /// With copies of these parameters, (D, D) and (D,), floating and of one dtype and device.
  BoltzmannMachineImpl(const at::Tensor& weight, const at::Tensor& bias);
  /// Over these very tensors, which are not registered as parameters: those of another module.
  static std::shared_ptr<BoltzmannMachineImpl> over(at::Tensor weight, at::Tensor bias);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  virtual at::Tensor forward(const at::Tensor& x) const;

  /// Whether the energy is still that of this class, so that the closed forms below apply. A class
  /// derived from it is taken to have another energy: it has no closed forms but those that it
  /// overrides, unless it overrides this too.
  virtual bool keeps_energy() const;

  at::Tensor value(const at::Tensor& x) const override { return forward(x); }
  /// The score is b + W x, for any real x.
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override;
  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override;
  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run = {}) const override;
  std::optional<at::Tensor> flip_differences(const at::Tensor& x,
                                             const std::optional<at::Tensor>& sites) const override;
  bool is_per_example() const override { return keeps_energy(); }
  /// With samplers alone.
  std::shared_ptr<const EnergyFunction> in_field(const at::Tensor& field) const override;

  at::Tensor weight;
  at::Tensor bias;

 private:
  BoltzmannMachineImpl() = default;

  int64_t n_units_ = 0;
};
TORCH_MODULE(BoltzmannMachine);

}  // namespace torch_ebm
