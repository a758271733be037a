#pragma once

#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm::detail {

/// The states after a sampler's move, detached, and their energies, (N,), float64, if it reported
/// them.
struct Moved {
  at::Tensor x;
  std::optional<at::Tensor> energy = std::nullopt;
};

/// Moves a copy of x by `sampler` at inverse temperature beta, () or (N,). Throws unless the states are like x.
Moved moved(const char* op, const Sampler& sampler, const Energy& energy, const at::Tensor& x,
            const at::Tensor& beta, const std::optional<at::Generator>& generator);

}  // namespace torch_ebm::detail
