#include "csrc/energy/script_energy.h"

namespace torch_ebm::detail {

ScriptEnergy::ScriptEnergy(torch::jit::Module module) : module_(std::move(module)) {
  TORCH_CHECK_VALUE(
      module_.find_method("forward"), "energy: the scripted module ", module_.type()->str(),
      " must have a method forward(x); torch.jit.freeze drops the methods of a submodule "
      "unless it is among preserved_attrs");
}

at::Tensor ScriptEnergy::value(const at::Tensor& x) const {
  const c10::IValue energies = module_.forward({x});
  TORCH_CHECK_TYPE(energies.isTensor(), "energy: forward must return a tensor of shape (N,), got ",
                   energies.tagKind());
  return energies.toTensor();
}

std::optional<at::Tensor> ScriptEnergy::gibbs(const at::Tensor& x,
                                              const GibbsOptions& options) const {
  const auto method = module_.find_method("gibbs");
  if (!method) return std::nullopt;
  const c10::IValue states = (*method)({x.clone()}, {{"n_steps", options.n_steps},
                                                     {"beta", options.beta},
                                                     {"clamp", options.clamp},
                                                     {"generator", options.generator}});
  TORCH_CHECK_TYPE(states.isTensor(), "energy: gibbs must return a tensor like x, got ",
                   states.tagKind());
  return states.toTensor();
}

}  // namespace torch_ebm::detail
