#pragma once
// Energies of this library that Python holds: an operator that takes `Any energy` is given a number, and no call of such
// an energy goes through Python.

#include <memory>

#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// Whether a handle is that of a held energy; others are those of Python's callables.
inline bool is_held(int64_t handle) { return handle < -1; }

/// Keeps an energy until `_release_energy` is called with the handle that this returns.
int64_t hold(std::shared_ptr<const EnergyFunction> energy);

/// The energy that is held. Throws ValueError if there is none.
std::shared_ptr<const EnergyFunction> held(const char* op, int64_t handle);

}  // namespace torch_ebm::detail
