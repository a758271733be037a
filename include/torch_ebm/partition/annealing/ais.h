#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/noise.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/log_z_estimate.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API AISOptions {
  int64_t n_chains = 100;
  /// Inverse temperatures from 0 to 1, rising, (K + 1,). Default: 1001 of them, evenly spaced.
  std::optional<at::Tensor> betas = std::nullopt;
  /// See anneal. Where groups resample, the estimate has one weight per group.
  int64_t n_groups = 1;
  double resample_below = 0;
  std::optional<at::Generator> generator = std::nullopt;
};

/// log Z by annealed importance sampling (Neal 2001), with its error: from samples of `base` along
/// the geometric path to `energy` (annealed_energy), moved by `sampler` at every temperature. An
/// energy that defines its own path, by `tempered` or `base_energy`, keeps it; then `base` must be
/// its distribution at beta = 0.
/// Throws ValueError for n_chains < 2, fewer than 2 groups where they resample, betas that do not
/// rise from 0 to 1, a base that is not the distribution at beta = 0, and as anneal does.
TORCH_EBM_API LogZEstimate ais(const Energy& energy, const NoiseDistribution& base,
                               const Sampler& sampler, const AISOptions& options = {});

/// The same for an RBM, by rbm_ais. base_visible_bias: (V,). Default: zeros, the uniform base, which
/// misses modes least. From any other, a tenth as many chains, 5 to 100, are annealed from zeros too,
/// and the estimate warns if they contradict it, see docs/partition.md. Takes no groups.
TORCH_EBM_API LogZEstimate ais(const RBM& rbm, const AISOptions& options = {},
                               const std::optional<at::Tensor>& base_visible_bias = std::nullopt);

/// AIS downward (Grosse, Ghahramani & Adams 2015): from samples x of the model, (N, ...), to the
/// base. With exact samples it is unbiased for 1 / Z, and so a stochastic upper bound on log Z,
/// where ais gives a lower bound. States of energy +inf are left out of the base. options.n_chains
/// is not used.
TORCH_EBM_API LogZEstimate reverse_ais(const Energy& energy, const NoiseDistribution& base,
                                       const at::Tensor& x, const Sampler& sampler,
                                       const AISOptions& options = {});
TORCH_EBM_API LogZEstimate
reverse_ais(const RBM& rbm, const at::Tensor& x, const AISOptions& options = {},
            const std::optional<at::Tensor>& base_visible_bias = std::nullopt);

}  // namespace torch_ebm
