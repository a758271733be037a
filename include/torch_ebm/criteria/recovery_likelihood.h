#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// The conditional energy E(x) + |noisy - x|^2 / (2 sigma^2) of x given `noisy` = x + N(0, sigma^2
/// I) noise. Any sampler can use it. Row n of its batches belongs to row n of `noisy`, (N, ...). A
/// batch of R N states, as of R replicas, gets `noisy` R times. It has a score in closed form if
/// `energy` has one.
/// Throws ValueError for a sigma that is not positive and finite and, when called, for states of
/// another shape.
TORCH_EBM_API Energy recovery_energy(const Energy& energy, const at::Tensor& noisy, double sigma);

struct TORCH_EBM_API RecoveryLikelihoodOptions {
  /// The standard deviation of the noise, > 0.
  double sigma;
  /// Samples the conditional energy, started from the noisy examples.
  Sampler sampler;
};

/// Recovery likelihood (Gao, Song, Poole, Wu & Kingma 2021): the likelihood of x given x~ = x +
/// sigma noise,
///     p(x | x~) proportional to exp(-E(x) - |x~ - x|^2 / (2 sigma^2)),
/// which is far easier to sample than p(x): if sigma is small, it has one mode, around x~. For each
/// example
///     l(x) = E(x) - E(x'),   x' drawn from p(x' | x~) by `sampler`, started at x~.
/// Its gradient is that of -log p(x | x~). Its value is not a likelihood and does not measure how
/// good the model is.
///
/// Consistent if the sampler draws from the conditional distribution: x and x' then have the same
/// distribution given x~, at the true parameters. A short chain from x~ is biased, as contrastive
/// divergence is. It fails where sigma is small compared with the distance between modes, whose
/// weights are then not learned. The paper has an energy for each of many sigmas; here a single
/// energy models the data without noise.
///
/// x: (N, ...), floating. The noise and the sampler draw from the same generator.
/// Throws ValueError for a sigma that is not positive and finite, no sampler, and states from the
/// sampler that are not like x; a NaN energy gives NaN if the sampler accepts it.
TORCH_EBM_API at::Tensor recovery_likelihood(const Energy& energy, const at::Tensor& x,
                                             const CriterionOptions& criterion,
                                             const RecoveryLikelihoodOptions& options);

}  // namespace torch_ebm
