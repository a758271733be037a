#pragma once

#include "torch_ebm/models/boltzmann_machine.h"

namespace torch_ebm::detail {

/// The part of the weights that counts: symmetric, with a zero diagonal.
at::Tensor coupling(const at::Tensor& weight);

}  // namespace torch_ebm::detail
