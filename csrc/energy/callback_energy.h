#pragma once

#include <map>
#include <mutex>
#include <string>

#include "torch_ebm/energy.h"

namespace torch_ebm::detail {

/// A Python callable, known by a handle and called back through the dispatcher: this library links no
/// Python, and an exception raised by the callable keeps its type on the way through.
class CallbackEnergy : public EnergyFunction {
 public:
  explicit CallbackEnergy(int64_t handle) : handle_(handle) {}
  at::Tensor value(const at::Tensor& x) const override;
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;
  std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const override;
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override;
  bool has_path(const at::Tensor& x) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override;
  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override;
  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const override;
  std::optional<at::Tensor> flip_differences(const at::Tensor& x,
                                             const std::optional<at::Tensor>& sites) const override;

 private:
  bool has(const std::string& method) const;

  int64_t handle_;
  mutable std::mutex mutex_;                 // of has_, never held while Python is called
  mutable std::map<std::string, bool> has_;  // answers so far: each takes a call of Python
};

}  // namespace torch_ebm::detail
