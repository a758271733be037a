#include "csrc/energy/built_in.h"

#include <algorithm>
#include <map>

namespace torch_ebm::detail {

namespace {

std::map<std::string, MakeBuiltIn>& makers() {
  static std::map<std::string, MakeBuiltIn> by_name;
  return by_name;
}

}  // namespace

BuiltIn::BuiltIn(const std::string& name, MakeBuiltIn make) { makers().emplace(name, make); }

std::shared_ptr<const EnergyFunction> make_built_in(const char* op,
                                                    c10::ArrayRef<c10::IValue> elements) {
  const auto is_tensor = [](const c10::IValue& element) { return element.isTensor(); };
  TORCH_CHECK_TYPE(!elements.empty() && elements[0].isString() &&
                       std::ranges::all_of(elements.slice(1), is_tensor),
                   op, ": energy must be the name of a model and its tensors, if it is a tuple");
  const auto maker = makers().find(elements[0].toStringRef());
  TORCH_CHECK_TYPE(maker != makers().end(), op, ": energy must be a model of this library, got \"",
                   elements[0].toStringRef(), "\"");
  return maker->second(elements.slice(1));
}

}  // namespace torch_ebm::detail
