#pragma once

#include <torch/csrc/jit/api/module.h>

#include "torch_ebm/energy.h"

namespace torch_ebm::detail {

/// A scripted module, called through its methods `forward` and, if it has one, `gibbs`.
class ScriptEnergy : public EnergyFunction {
 public:
  explicit ScriptEnergy(torch::jit::Module module);
  at::Tensor value(const at::Tensor& x) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const GibbsOptions& options) const override;

 private:
  mutable torch::jit::Module module_;  // calling a scripted method is not const
};

}  // namespace torch_ebm::detail
