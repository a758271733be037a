#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/noise.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API RAISEOptions {
  /// Chains for each example.
  int64_t n_chains = 10;
  /// Inverse temperatures from 0 to 1, rising, (K + 1,). Default: 1001 of them, evenly spaced.
  std::optional<at::Tensor> betas = std::nullopt;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Conservative log-likelihoods of examples x, (N, ...), by the reverse AIS estimator (Burda,
/// Grosse & Salakhutdinov 2015): annealing with K temperatures is itself a generative model, from
/// the base to its last states. The probability that it gives to x is estimated without bias from
/// chains that start at x and go down to the base. The logarithm of the estimate is too low on
/// average, and log p of the annealing model tends to that of `energy` as K grows.
///
/// Arguments as for reverse_ais; N n_chains chains are run together. Returns (N,), float64.
TORCH_EBM_API at::Tensor raise_log_likelihood(const Energy& energy, const NoiseDistribution& base,
                                              const at::Tensor& x, const Sampler& sampler,
                                              const RAISEOptions& options = {});

}  // namespace torch_ebm
