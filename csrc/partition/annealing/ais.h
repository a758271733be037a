#pragma once

#include "torch_ebm/partition/annealing/ais.h"

namespace torch_ebm::detail {

/// ais, and the last states of its chains, (n_chains, ...).
struct AISChains {
  LogZEstimate estimate;
  at::Tensor x;
};

AISChains ais_chains(const char* op, const Energy& energy, const NoiseDistribution& base,
                     const Sampler& sampler, const AISOptions& options);
AISChains ais_chains(const char* op, const RBM& rbm, const AISOptions& options,
                     const std::optional<at::Tensor>& base_visible_bias);

}  // namespace torch_ebm::detail
