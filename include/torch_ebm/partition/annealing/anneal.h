#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// N chains on their way along a path of temperatures.
struct TORCH_EBM_API AnnealedChains {
  at::Tensor x;            ///< the states, (N, ...)
  at::Tensor log_weights;  ///< (N,), float64
  at::Tensor
      stage_ess;  ///< ESS of the weights after each of the K changes of temperature, (K,), float64
};

struct TORCH_EBM_API AnnealOptions {
  /// The log weights that the chains start with, (N,). Default: 0.
  std::optional<at::Tensor> log_weights = std::nullopt;
  /// The number of groups of consecutive chains. Chains resample within their group only; groups
  /// stay independent.
  int64_t n_groups = 1;
  /// Resample the states of a group (systematically) once its ESS falls below this share of its
  /// chains: sequential Monte Carlo (Del Moral, Doucet & Jasra 2006). With 0 there is no
  /// resampling: annealed importance sampling (Neal 2001).
  double resample_below = 0;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Takes chains from inverse temperature betas[0] to betas[K], up or down. At each change the log
/// weights grow by
///     E_b(x) - E_b'(x),     b = betas[k], b' = betas[k + 1],
/// E_b the energy at b (`tempered`, or b E + (1 - b) base_energy); then `sampler` moves the states
/// and must leave the distribution at b' invariant. If x was drawn from the distribution at
/// betas[0], the mean weight is unbiased for Z(betas[K]) / Z(betas[0]), with and without
/// resampling. Two short runs equal one long run if the second starts from the states and weights
/// of the first.
///
/// x: (N, ...). betas: (K + 1,), K >= 1, finite, not negative, strictly rising or falling. Once the
/// energy of a chain is +inf, its weight stays 0. Throws ValueError for invalid betas, n_groups
/// that does not divide N, resample_below outside [0, 1], energies that are NaN or -inf, a sampler
/// that returns states of another shape.
TORCH_EBM_API AnnealedChains anneal(const Energy& energy, const at::Tensor& x,
                                    const at::Tensor& betas, const Sampler& sampler,
                                    const AnnealOptions& options = {});

}  // namespace torch_ebm
