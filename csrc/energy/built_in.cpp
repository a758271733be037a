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

std::vector<at::Tensor> tensors_of(const char* name, c10::ArrayRef<c10::IValue> parts, size_t n) {
  const auto is_tensor = [](const c10::IValue& part) { return part.isTensor(); };
  TORCH_CHECK_TYPE(parts.size() == n && std::ranges::all_of(parts, is_tensor), name,
                   ": its parts must be ", n, " tensors");
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& part : parts) tensors.push_back(part.toTensor());
  return tensors;
}

std::shared_ptr<const EnergyFunction> make_built_in(const char* op,
                                                    c10::ArrayRef<c10::IValue> elements) {
  TORCH_CHECK_TYPE(!elements.empty() && elements[0].isString(), op,
                   ": energy must begin with the name of a model, if it is a tuple");
  const auto maker = makers().find(elements[0].toStringRef());
  TORCH_CHECK_TYPE(maker != makers().end(), op, ": energy must be a model of this library, got \"",
                   elements[0].toStringRef(), "\"");
  return maker->second(op, elements.slice(1));
}

}  // namespace torch_ebm::detail
