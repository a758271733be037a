#pragma once

#include <ATen/core/ivalue.h>

#include <memory>
#include <string>

#include "torch_ebm/energy.h"

namespace torch_ebm::detail {

/// Makes a model of this library from its tensors, which are the parameters of a Python module. They are checked.
using MakeBuiltIn = std::shared_ptr<const EnergyFunction> (*)(c10::ArrayRef<c10::IValue> tensors);

/// Registers a model as `Any energy` of the operators: a tuple of its name and its tensors. No call of such an energy goes
/// through Python.
struct BuiltIn {
  BuiltIn(const std::string& name, MakeBuiltIn make);
};

/// The model that the tuple describes. Throws TypeError for one that is none.
std::shared_ptr<const EnergyFunction> make_built_in(const char* op,
                                                    c10::ArrayRef<c10::IValue> elements);

}  // namespace torch_ebm::detail
