#include "csrc/energy/callback_energy.h"

#include "csrc/common/python_operator.h"

namespace torch_ebm::detail {

at::Tensor CallbackEnergy::value(const at::Tensor& x) const {
  static const auto op =
      implemented_in_python<at::Tensor(const at::Tensor&, int64_t)>("torch_ebm::_call_energy");
  return op.call(x, handle_);
}

bool CallbackEnergy::has(const std::string& method) const {
  static const auto op =
      implemented_in_python<bool(int64_t, c10::string_view)>("torch_ebm::_energy_has");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = has_.find(method);
    if (known != has_.end()) return known->second;
  }
  const bool answer = op.call(handle_, method);
  const std::lock_guard<std::mutex> lock(mutex_);
  return has_[method] = answer;
}

c10::IValue CallbackEnergy::call(const std::string& method, const char* expected,
                                 std::vector<c10::IValue> arguments, const Options& options) const {
  static const auto op = implemented_in_python<c10::IValue(
      const at::Tensor&, int64_t, c10::string_view, c10::string_view, const c10::IValue&)>(
      "torch_ebm::_call_energy_method");
  const at::Tensor x = arguments[0].toTensor();
  arguments.erase(arguments.begin());
  for (const auto& option : options) arguments.push_back(option.second);
  return op.call(x, handle_, method, expected, c10::ivalue::Tuple::create(std::move(arguments)));
}

}  // namespace torch_ebm::detail
