#include "torch_ebm/partition/exact/exact_log_z.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/partition/exact/log_sum.h"
#include "csrc/partition/exact/states.h"

namespace torch_ebm {

namespace {

constexpr const char* kExactLogZ = "exact_log_z";

/// n_categories^n_units, rejected if that is too large; n_categories >= 2.
int64_t count_states(int64_t n_units, int64_t n_categories) {
  int64_t n_states = 1;
  for (int64_t i = 0; i < n_units; ++i) {
    n_states *= n_categories;
    TORCH_CHECK_VALUE(n_states <= int64_t{1} << detail::kMaxSummedUnits, kExactLogZ,
                      ": n_categories^n_units must be at most 2^", detail::kMaxSummedUnits,
                      ", got ", n_categories, "^", n_units, "; use AIS for more");
  }
  return n_states;
}

at::Tensor exact_log_z_op(const c10::IValue& energy, int64_t n_units,
                          std::optional<int64_t> n_categories, std::optional<int64_t> dtype,
                          std::optional<at::Device> device) {
  const auto options =
      at::TensorOptions().dtype(detail::checked_dtype(kExactLogZ, dtype)).device(device);
  return exact_log_z(Energy::from_ivalue(kExactLogZ, energy), n_units, options, n_categories);
}

}  // namespace

at::Tensor exact_log_z(const Energy& energy, int64_t n_units, const at::TensorOptions& options,
                       std::optional<int64_t> n_categories) {
  detail::check_summed_units(kExactLogZ, "n_units", n_units);
  // n_categories is checked before it is multiplied with itself.
  if (n_categories) {
    TORCH_CHECK_VALUE(*n_categories >= 2 && *n_categories <= int64_t{1} << detail::kMaxSummedUnits,
                      kExactLogZ, ": n_categories must be between 2 and 2^",
                      detail::kMaxSummedUnits, ", got ", *n_categories);
  }
  const int64_t n_states = count_states(n_units, n_categories.value_or(2));
  detail::check_dtype(kExactLogZ, c10::typeMetaToScalarType(options.dtype()));
  TORCH_CHECK_NOT_IMPLEMENTED(!options.device().is_meta(), kExactLogZ,
                              ": device must hold values, got meta");
  const detail::NoGradMode no_grad;
  return detail::log_sum_in_batches(
      kExactLogZ, n_states, detail::kStatesAtOnce, [&](int64_t begin, int64_t end) {
        const at::Tensor x =
            n_categories ? detail::one_hot_states(begin, end, n_units, *n_categories, options)
                         : detail::binary_states(begin, end, n_units, options);
        return detail::checked_negative_energies(kExactLogZ, energy, x);
      });
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("exact_log_z", &exact_log_z_op);
}

}  // namespace torch_ebm
