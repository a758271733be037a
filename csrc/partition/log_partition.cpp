#include "torch_ebm/partition/log_partition.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/savable.h"

namespace torch_ebm {

namespace {

constexpr const char* kLogPartition = "log_partition";

void check_device(const char* name, const at::Tensor& tensor, const at::Tensor& energies) {
  TORCH_CHECK_VALUE(tensor.is_meta() == energies.is_meta(), kLogPartition, ": ", name,
                    " must be on the device of negative_energies, ", energies.device(), ", got ",
                    tensor.device());
}

/// The mean, or the weighted sum, of the energies (N,).
at::Tensor average(const at::Tensor& energies, const std::optional<at::Tensor>& weights) {
  if (!weights || !weights->defined()) return energies.mean();
  detail::check_floating(kLogPartition, "weights", *weights);
  check_device("weights", *weights, energies);
  TORCH_CHECK_VALUE(weights->dim() == 1 && weights->sym_size(0) == energies.sym_size(0),
                    kLogPartition, ": weights must have the shape of negative_energies, ",
                    energies.sym_sizes(), ", got ", weights->sym_sizes());
  return (weights->detach().to(energies.scalar_type()) * energies).sum();
}

at::Tensor log_partition_composite(const at::Tensor& negative_energies,
                                   const std::optional<at::Tensor>& log_z,
                                   const std::optional<at::Tensor>& weights) {
  detail::check_floating(kLogPartition, "negative_energies", negative_energies);
  TORCH_CHECK_VALUE(negative_energies.dim() == 1, kLogPartition,
                    ": negative_energies must have shape (N,), got ",
                    negative_energies.sym_sizes());
  TORCH_CHECK_VALUE(negative_energies.sym_size(0) >= 1, kLogPartition,
                    ": negative_energies must hold at least one energy");
  const bool half = negative_energies.element_size() < 4;
  const at::Tensor surrogate =
      -average(half ? negative_energies.to(at::kFloat) : negative_energies, weights);
  if (!log_z || !log_z->defined()) return surrogate;
  detail::check_floating(kLogPartition, "log_z", *log_z);
  check_device("log_z", *log_z, negative_energies);
  TORCH_CHECK_VALUE(log_z->dim() == 0, kLogPartition, ": log_z must be one number, shape (), got ",
                    log_z->sym_sizes());
  // The value of the one and the gradient of the other.
  return log_z->detach() + (surrogate - surrogate.detach());
}

}  // namespace

at::Tensor log_partition(const at::Tensor& negative_energies,
                         const std::optional<at::Tensor>& log_z,
                         const std::optional<at::Tensor>& weights) {
  static const auto op =
      detail::find_operator<decltype(log_partition_composite)>("torch_ebm::log_partition");
  return op.call(negative_energies, log_z, weights);
}

at::Tensor log_partition(const Energy& energy, const at::Tensor& negative_samples,
                         const std::optional<at::Tensor>& log_z,
                         const std::optional<at::Tensor>& weights) {
  // A copy: an energy may change it before that is noticed.
  return log_partition(energy.value(negative_samples.detach().clone()), log_z, weights);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("log_partition", detail::with_savable<&log_partition_composite>);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("log_partition", detail::with_savable<&log_partition_composite>);
}

}  // namespace torch_ebm
