#pragma once

#include <string>
#include <utility>
#include <vector>

#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// An energy whose optional methods are called by their names: those of a scripted module or of a
/// Python object. See EnergyFunction for what they are.
class MethodEnergy : public EnergyFunction {
 public:
  /// Arguments with their names, in the order of the method.
  using Options = std::vector<std::pair<std::string, c10::IValue>>;

  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;
  std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const override;
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override;
  bool has_path(const at::Tensor& x) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override;
  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override;
  std::optional<at::Tensor> categorical_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override;
  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const override;
  std::optional<at::Tensor> flip_differences(const at::Tensor& x,
                                             const std::optional<at::Tensor>& sites) const override;

 protected:
  virtual bool has(const std::string& method) const = 0;
  /// What the method, which is there, returns; `expected` says what that must be.
  virtual c10::IValue call(const std::string& method, const char* expected,
                           std::vector<c10::IValue> arguments,
                           const Options& options = {}) const = 0;

 private:
  /// Nothing if the method is not there, or has no answer.
  std::optional<at::Tensor> call_if_there(const char* method, const char* expected,
                                          std::vector<c10::IValue> arguments,
                                          const Options& options = {}) const;
};

}  // namespace torch_ebm::detail
