#pragma once

#include <string>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// This library's version, for example "0.1.0".
TORCH_EBM_API std::string version();

/// The version of torch that this library was built against. Another minor version does not work:
/// torch promises no binary compatibility between them.
TORCH_EBM_API std::string built_for_torch();

/// The instruction set that the CPU kernels use on this machine: "avx512", "avx2" or "baseline".
TORCH_EBM_API std::string cpu_kernels();

}  // namespace torch_ebm
