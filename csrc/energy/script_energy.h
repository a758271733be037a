#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

#include "torch_ebm/energy.h"

namespace torch_ebm::detail {

/// A scripted module, called through its methods `forward` and, if it has them, `gibbs`,
/// `random_scan_gibbs`, `gibbs_with_gradients`, `tempered`, `value_and_score` and `flip_differences`.
class ScriptEnergy : public EnergyFunction {
 public:
  explicit ScriptEnergy(torch::jit::Module module);
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
  std::optional<at::Tensor> call_gibbs(const char* name, const at::Tensor& x, const RunOptions& run,
                                       const std::optional<at::Tensor>& clamp) const;
  std::optional<c10::IValue> call_if_there(const char* name, std::vector<c10::IValue> arguments,
                                           const torch::jit::Kwargs& options = {}) const;

  /// A method that replaces a computation from forward. Hooks on forward make it another energy.
  std::optional<torch::jit::Method> closed_form(const std::string& name) const;

  bool has_hooks_ = false;
  mutable torch::jit::Module module_;  // calling a scripted method is not const
};

}  // namespace torch_ebm::detail
