#pragma once

#include <ATen/core/ivalue.h>

#include <memory>
#include <string>
#include <vector>

#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// Makes an energy of this library from its parts, which it checks: the parameters of a Python
/// module, for example.
using MakeBuiltIn = std::shared_ptr<const EnergyFunction> (*)(const char* op,
                                                              c10::ArrayRef<c10::IValue> parts);

/// Registers an energy as `Any energy` of the operators: a tuple of its name and its parts. No call
/// of it goes through Python.
struct BuiltIn {
  BuiltIn(const std::string& name, MakeBuiltIn make);
};

/// The parts, which must be n tensors.
std::vector<at::Tensor> tensors_of(const char* name, c10::ArrayRef<c10::IValue> parts, size_t n);

/// The energy that the tuple describes. Throws TypeError for one that is none.
std::shared_ptr<const EnergyFunction> make_built_in(const char* op,
                                                    c10::ArrayRef<c10::IValue> elements);

}  // namespace torch_ebm::detail
