#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// log Z of a binary energy by summing over all 2^n_units states x of shape (n_units,): exact, in
/// float64, without gradient; -inf if no state is allowed. With n_categories = K, the states are
/// one-hot, of shape (n_units, K). Energies are evaluated in batches of at most 16384 states of the
/// dtype and device in `options`. Throws ValueError unless there are between 1 and 25 units and at
/// most 2^25 states, for K < 2, and if an energy is NaN or -inf.
TORCH_EBM_API at::Tensor exact_log_z(const Energy& energy, int64_t n_units,
                                     const at::TensorOptions& options = {},
                                     std::optional<int64_t> n_categories = std::nullopt);

}  // namespace torch_ebm
