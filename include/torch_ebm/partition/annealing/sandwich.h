#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <ostream>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/partition/annealing/ais.h"

namespace torch_ebm {

/// log Z between two bounds: bidirectional Monte Carlo (Grosse, Ghahramani & Adams 2015).
struct TORCH_EBM_API Sandwich {
  LogZEstimate forward;  ///< by ais, the stochastic lower bound
  LogZEstimate reverse;  ///< by reverse_ais, the stochastic upper bound
  /// By bridge_sampling from the weights of both directions (Crooks 2000; Bennett 1976), usually
  /// far better than either.
  LogZEstimate bridge;
  /// Whether annealing down started from exact samples. If not, the upper bound holds only as far
  /// as the chains that made them have mixed: what they never visit is missing from it.
  bool exact_samples;
  /// By how much the two directions disagree; empty if they agree.
  std::string warning = {};
};

TORCH_EBM_API std::ostream& operator<<(std::ostream& stream, const Sandwich& sandwich);

struct TORCH_EBM_API SandwichOptions {
  int64_t n_chains = 100;
  /// As for ais.
  std::optional<at::Tensor> betas = std::nullopt;
  /// Exact, independent samples of the model, from which annealing down starts, (M, ...), M >= 2.
  std::optional<at::Tensor> x = std::nullopt;
  /// If the model has no exact samples, chains start from the last states of annealing up,
  /// resampled by their weights, and make this many transitions at beta = 1.
  int64_t n_burn_in = 1000;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Both bounds along the path of ais. `bridge` is right only if the sampler is reversible, as
/// Metropolis samplers and Gibbs sampling with a random scan are, and the samples are exact. Throws
/// ValueError for n_burn_in < 0, and as ais and reverse_ais do.
TORCH_EBM_API Sandwich sandwich(const Energy& energy, const NoiseDistribution& base,
                                const Sampler& sampler, const SandwichOptions& options = {});

/// The same for an RBM, by rbm_ais. Without options.x, annealing down starts from n_chains exact
/// samples, RBM::sample, if the smaller layer has at most 20 units.
TORCH_EBM_API Sandwich sandwich(const RBM& rbm, const SandwichOptions& options = {},
                                const std::optional<at::Tensor>& base_visible_bias = std::nullopt);

}  // namespace torch_ebm
