#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API MLPOptions {
  /// The activation of the hidden units: "silu", "softplus" or "tanh". All are smooth, and so are
  /// the scores.
  std::string activation = "silu";
  /// c in c |x|^2 / 2. A network alone has no finite Z, since it grows at most linearly, or not at
  /// all.
  double confinement = 0;
};

/// Energies (N,) and scores -dE/dx (N, D) of x (N, D), by an explicit chain rule: no graph is
/// recorded, and parameters get no gradient. With h_0 = x and h_l = f(weights[l] h_{l-1} +
/// biases[l]) except for the last layer, which is linear and has one unit, E(x) = h_L + confinement
/// |x|^2 / 2.
///
/// weights[l]: (out, in); biases[l]: (out,); at least two of each, of the floating dtype and device
/// of x. Half precision is computed in float. If all weights fit in the cache (256 KiB per layer),
/// the results of a chain are the same bit for bit with any number of threads and chains. Otherwise
/// the products are torch's, whose rounding may depend on the batch.
/// Throws ValueError for wrong shapes, an unknown activation, a confinement that is negative or not
/// finite; TypeError for wrong dtypes.
TORCH_EBM_API std::tuple<at::Tensor, at::Tensor> mlp_value_and_score(
    const at::Tensor& x, at::TensorList weights, at::TensorList biases,
    std::string_view activation = "silu", double confinement = 0);

/// A multilayer perceptron as an energy: forward(x), (N, D) -> (N,), differentiable any number of
/// times, and mlp_value_and_score for the samplers.
///
/// Its parameters are those of torch::nn::Sequential(Linear, activation, Linear, ..., Linear),
/// under "layers": layers.0.weight, layers.0.bias, layers.2.weight, ..., as in the Python module.
class TORCH_EBM_API MLPImpl : public torch::nn::Cloneable<MLPImpl>, public EnergyFunction {
 public:
  /// sizes: D, the hidden layers (at least one), and 1. Parameters are initialised as in
  /// torch::nn::Linear.
  explicit MLPImpl(std::vector<int64_t> sizes, MLPOptions options = {});
  /// With copies of these parameters, (out, in) and (out,) of every layer, floating and of one dtype
  /// and device.
  MLPImpl(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& biases,
          MLPOptions options = {});

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  virtual at::Tensor forward(const at::Tensor& x) const;
  /// Whether the energy is still that of this class, so that the closed forms below apply. A class
  /// derived from it is taken to have another energy: it has no closed forms but those that it
  /// overrides, unless it overrides this too.
  virtual bool keeps_energy() const;

  at::Tensor value(const at::Tensor& x) const override { return forward(x); }
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;
  bool is_per_example() const override { return keeps_energy(); }

  torch::nn::Sequential layers{nullptr};

 private:
  /// The same energy, as a function of the parameters.
  std::shared_ptr<const EnergyFunction> of_parameters() const;

  std::vector<int64_t> sizes_;
  MLPOptions options_;
};
TORCH_MODULE(MLP);

}  // namespace torch_ebm
