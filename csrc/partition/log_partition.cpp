#include "torch_ebm/log_partition.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"

namespace torch_ebm {

namespace {

at::Tensor log_partition_composite(const at::Tensor& negative_energies,
                                   const std::optional<at::Tensor>& log_z) {
  const char* const op = "log_partition";
  detail::check_floating(op, "negative_energies", negative_energies);
  TORCH_CHECK_VALUE(negative_energies.dim() == 1, op,
                    ": negative_energies must have shape (N,), got ",
                    negative_energies.sym_sizes());
  TORCH_CHECK_VALUE(negative_energies.sym_size(0) >= 1, op,
                    ": negative_energies must hold at least one energy");
  const bool half = negative_energies.element_size() < 4;
  const at::Tensor surrogate =
      -(half ? negative_energies.to(at::kFloat) : negative_energies).mean();
  if (!log_z || !log_z->defined()) return surrogate;
  TORCH_CHECK_VALUE(log_z->dim() == 0, op, ": log_z must be one number, shape (), got ",
                    log_z->sym_sizes());
  // The value of the one and the gradient of the other.
  return log_z->detach() + (surrogate - surrogate.detach());
}

}  // namespace

at::Tensor log_partition(const at::Tensor& negative_energies,
                         const std::optional<at::Tensor>& log_z) {
  static const auto op =
      detail::find_operator<decltype(log_partition_composite)>("torch_ebm::log_partition");
  return op.call(negative_energies, log_z);
}

at::Tensor log_partition(const Energy& energy, const at::Tensor& negative_samples,
                         const std::optional<at::Tensor>& log_z) {
  return log_partition(energy.value(negative_samples.detach()), log_z);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("log_partition", &log_partition_composite);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("log_partition", &log_partition_composite);
}

}  // namespace torch_ebm
