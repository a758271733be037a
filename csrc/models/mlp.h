#pragma once

#include "csrc/kernels/cpu/kernels.h"
#include "torch_ebm/mlp.h"

namespace torch_ebm::detail {

/// The activation of that name. Throws if there is none.
kernels::Activation activation_of(const char* op, std::string_view name);
void check_confinement(const char* op, double confinement);

/// Beyond it log(1 + e^x) is x in double too. torch's own cut, 20, costs 2e-9.
constexpr double kSoftplusThreshold = 40;

}  // namespace torch_ebm::detail
