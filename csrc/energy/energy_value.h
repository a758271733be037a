#pragma once

#include <ATen/core/ivalue.h>

#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// An energy as an operator's `Any energy`, for calls from C++ of operators that take any.
c10::IValue as_ivalue(const Energy& energy);

/// The energy that as_ivalue made this of. Throws TypeError for any other capsule.
const Energy& held_energy(const char* op, const c10::IValue& capsule);

}  // namespace torch_ebm::detail
