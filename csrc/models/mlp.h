#pragma once

#include "csrc/kernels/cpu/kernels.h"
#include "torch_ebm/models/mlp.h"

namespace torch_ebm::detail {

/// The activation of that name. Throws if there is none.
kernels::Activation activation_of(const char* op, std::string_view name);
void check_confinement(const char* op, double confinement);

/// Above it log(1 + e^x) is x even in double. torch's own threshold, 20, makes an error of 2e-9.
constexpr double kSoftplusThreshold = 40;

}  // namespace torch_ebm::detail
