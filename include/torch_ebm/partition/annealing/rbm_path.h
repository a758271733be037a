#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <optional>
#include <tuple>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/energy/noise.h"

namespace torch_ebm {

/// A path through R RBMs, its knots, for annealing. Knot r is at inverse temperature betas[r].
/// Between two knots weights and biases are linear in beta, so that the joint distribution of v and
/// h is the geometric average of those of the knots. The first knot has no weights, so that its
/// visible units are independent; the last one is the model.
///
///     const RBMPath path = moment_averaged_path(rbm, base_rate_bias(data));
///     ais(Energy(path), path->base(), bind_sampler(gibbs));
///
/// With two knots, (0, bA, 0) and the model, it is the path of rbm_ais. Knots are buffers: they get
/// no gradients.
class TORCH_EBM_API RBMPathImpl : public torch::nn::Cloneable<RBMPathImpl>, public EnergyFunction {
 public:
  /// weight: (R, V, H), R >= 2. visible_bias: (R, V). hidden_bias: (R, H). betas: (R,), rising
  /// strictly from 0 to 1; default: evenly spaced. Throws ValueError for other shapes, invalid betas, parameters that are
  /// not finite, a first knot with weights; TypeError for different dtypes.
  RBMPathImpl(const at::Tensor& weight, const at::Tensor& visible_bias,
              const at::Tensor& hidden_bias, const std::optional<at::Tensor>& betas = std::nullopt);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// Free energies of the last knot, (N,), of visible (N, V).
  at::Tensor forward(const at::Tensor& visible) const;
  /// Weight (V, H), visible bias (V,) and hidden bias (H,) at beta, (), in [0, 1].
  std::tuple<at::Tensor, at::Tensor, at::Tensor> rbm_at(const at::Tensor& beta) const;
  /// The distribution of the visible units at beta = 0, normalised.
  NoiseDistribution base() const;

  at::Tensor value(const at::Tensor& x) const override { return forward(x); }
  /// As rbm_at, these take one beta for all chains, in [0, 1], and throw ValueError for others.
  std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override;

  at::Tensor weight;
  at::Tensor visible_bias;
  at::Tensor hidden_bias;
  at::Tensor betas;
};
TORCH_MODULE(RBMPath);

}  // namespace torch_ebm
