#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include <functional>
#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// A distribution with samples and a known density, with which noise-contrastive criteria compare
/// the data.
struct TORCH_EBM_API NoiseDistribution {
  /// n independent samples, (n, ...).
  std::function<at::Tensor(int64_t n, const std::optional<at::Generator>& generator)> sample;
  /// The log densities (n,) of u, (n, ...). They must be normalised unless the criterion learns log
  /// Z.
  std::function<at::Tensor(const at::Tensor& u)> log_prob;
  /// If it is the distribution of independent binary units: the log odds of each, like one state.
  /// They let samplers stay in closed form on the path from it, see annealed_energy.
  std::optional<at::Tensor> logits = std::nullopt;
};

/// What a noise-contrastive criterion needs of the noise, for data x, (N, ...): nu samples for each
/// example, and log densities, floating and finite. Gradients go through all three, so that a noise
/// model can be trained on the same criterion; detach what is not to be trained.
struct TORCH_EBM_API NoiseSamples {
  at::Tensor samples;        ///< (N, nu, ...), like x.
  at::Tensor log_prob;       ///< log p_noise(samples), (N, nu).
  at::Tensor data_log_prob;  ///< log p_noise(x), (N,).
};

/// n_noise samples of `noise` for each example of x, without gradients. Throws ValueError for
/// n_noise < 1, and for samples or log densities in other shapes.
TORCH_EBM_API NoiseSamples draw_noise(const NoiseDistribution& noise, const at::Tensor& x,
                                      int64_t n_noise = 1,
                                      const std::optional<at::Generator>& generator = std::nullopt);

/// A model as the noise: `negative_samples` of it, (N, nu, ...), with the log densities -E, without
/// its -log Z; they have no gradients. NCE against a copy of the trained model itself is
/// self-contrastive estimation (Goodfellow 2014). As long as the two are the same, its gradient,
/// with log_z absent or 0, is nu / (1 + nu) times that of maximum likelihood on these negative
/// samples: with nu = 1, half of it.
TORCH_EBM_API NoiseSamples model_noise(const Energy& energy, const at::Tensor& x,
                                       const at::Tensor& negative_samples);

}  // namespace torch_ebm
