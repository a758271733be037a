#pragma once

#include "torch_ebm/sampler.h"

namespace torch_ebm::detail {

/// What the operators take as `Any sampler`: a scripted module, which holds its own energy and whose
/// forward(x, beta, generator) returns the new states, or the handle of a Python callable.
Sampler sampler_from_ivalue(const char* op, const c10::IValue& value);

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
