#pragma once

#include "torch_ebm/sampler.h"

namespace torch_ebm::detail {

/// What the operators take as `Any sampler`: a scripted module, which holds its own energy and whose
/// forward(x, beta, generator) returns the new states, or the handle of a Python callable.
Sampler sampler_from_ivalue(const char* op, const c10::IValue& value);

/// The states that `sampler` moves a copy of x to at inverse temperature beta, () or (N,); detached. Throws unless
/// they are like x.
at::Tensor moved(const char* op, const Sampler& sampler, const Energy& energy, const at::Tensor& x,
                 const at::Tensor& beta, const std::optional<at::Generator>& generator);

}  // namespace torch_ebm::detail
