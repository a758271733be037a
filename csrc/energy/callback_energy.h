#pragma once

#include <map>
#include <mutex>

#include "csrc/energy/method_energy.h"

namespace torch_ebm::detail {

/// A Python callable, known by a handle and called back through the dispatcher: this library links
/// no Python, and an exception raised by the callable keeps its type on the way through.
class CallbackEnergy : public MethodEnergy {
 public:
  explicit CallbackEnergy(int64_t handle) : handle_(handle) {}
  at::Tensor value(const at::Tensor& x) const override;

 private:
  bool has(const std::string& method) const override;
  c10::IValue call(const std::string& method, const char* expected,
                   std::vector<c10::IValue> arguments, const Options& options) const override;

  int64_t handle_;
  mutable std::mutex mutex_;                 // of has_, never held while Python is called
  mutable std::map<std::string, bool> has_;  // answers so far: each takes a call of Python
};

}  // namespace torch_ebm::detail
