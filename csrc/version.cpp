#include "torch_ebm/version.h"

#include <torch/version.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm {

std::string version() { return TORCH_EBM_VERSION; }
std::string built_for_torch() { return TORCH_VERSION; }
std::string cpu_kernels() { return kernels::instruction_set(); }

}  // namespace torch_ebm
