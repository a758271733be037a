#pragma once

#include "csrc/common/softplus.h"
#include "csrc/kernels/cpu/kernels.h"
#include "torch_ebm/models/mlp.h"

namespace torch_ebm::detail {

/// The activation of that name. Throws if there is none.
kernels::Activation activation_of(const char* op, std::string_view name);
void check_confinement(const char* op, double confinement);

}  // namespace torch_ebm::detail
