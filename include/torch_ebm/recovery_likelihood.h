#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"
#include "torch_ebm/sampler.h"

namespace torch_ebm {

/// The conditional energy E(x) + |noisy - x|^2 / (2 sigma^2) of what x was before N(0, sigma^2 I) made it `noisy`: an
/// energy for every sampler, row n of its batches given row n of `noisy`, (N, ...). A batch of R N states, as of R
/// replicas, is given `noisy` R times. It brings the closed form of the score where `energy` has one.
/// Throws ValueError for a sigma that is not positive and finite and, when called, for states of another shape.
TORCH_EBM_API Energy recovery_energy(const Energy& energy, const at::Tensor& noisy, double sigma);

struct TORCH_EBM_API RecoveryLikelihoodOptions {
  /// The standard deviation of the noise, > 0.
  double sigma;
  /// Started at the noisy examples, it moves the states of the conditional energy.
  Sampler sampler;
};

/// Recovery likelihood (Gao, Song, Poole, Wu & Kingma 2021): the likelihood of x given x~ = x + sigma noise,
///     p(x | x~) proportional to exp(-E(x) - |x~ - x|^2 / (2 sigma^2)),
/// which is far easier to sample than p(x): of one mode, around x~, if sigma is small. Of each example
///     l(x) = E(x) - E(x'),   x' drawn from p(x' | x~) by `sampler`, started at x~.
/// Its gradient is that of -log p(x | x~); its value is no likelihood and says nothing of how good the model is.
///
/// Consistent if the sampler draws from the conditional law: x and x' then have the same law given x~, at the true
/// parameters. A short chain from x~ is biased as contrastive divergence is. It fails where sigma is small against the
/// distance of modes, whose weights are then not learned. The paper has an energy for each of many sigmas; here one
/// energy is that of the data, without noise.
///
/// x: (N, ...), floating. Noise and sampler draw from the same generator.
/// Throws ValueError for a sigma that is not positive and finite, no sampler, and what a sampler returns unlike x; NaN
/// energies come through if the sampler lets them.
TORCH_EBM_API at::Tensor recovery_likelihood(const Energy& energy, const at::Tensor& x,
                                             const CriterionOptions& criterion,
                                             const RecoveryLikelihoodOptions& options);

}  // namespace torch_ebm
