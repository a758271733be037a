#pragma once
// All states of some units, by number.

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// At most 2^25 states are summed over.
inline constexpr int64_t kMaxSummedUnits = 25;

inline void check_summed_units(const char* op, const char* what, int64_t n_units) {
  TORCH_CHECK_VALUE(n_units >= 1 && n_units <= kMaxSummedUnits, op, ": ", what,
                    " must be between 1 and ", kMaxSummedUnits, ", got ", n_units,
                    "; use AIS for more");
}

/// The states [begin, end) of n_units units of n_categories each, (N, n_units), int64: row r holds the digits of r,
/// the lowest first.
inline at::Tensor categorical_states(int64_t begin, int64_t end, int64_t n_units,
                                     int64_t n_categories, const at::TensorOptions& options) {
  const auto integers = options.dtype(at::kLong);
  at::Tensor number = at::arange(begin, end, integers);
  std::vector<at::Tensor> digits;
  for (int64_t i = 0; i < n_units; ++i) {
    digits.push_back(number.remainder(n_categories));
    number = number.floor_divide(n_categories);
  }
  return at::stack(digits, 1);
}

/// The same of binary units, (N, n_units), in the dtype of `options`.
inline at::Tensor binary_states(int64_t begin, int64_t end, int64_t n_units,
                                const at::TensorOptions& options) {
  const auto integers = options.dtype(at::kLong);
  const at::Tensor number = at::arange(begin, end, integers).unsqueeze(1);
  const at::Tensor shift = at::arange(n_units, integers).unsqueeze(0);
  return number.bitwise_right_shift(shift).bitwise_and(1).to(options.dtype());
}

/// The same as one-hot states, (N, n_units, n_categories).
inline at::Tensor one_hot_states(int64_t begin, int64_t end, int64_t n_units, int64_t n_categories,
                                 const at::TensorOptions& options) {
  const at::Tensor digits = categorical_states(begin, end, n_units, n_categories, options);
  return at::one_hot(digits, n_categories).to(options.dtype());
}

}  // namespace torch_ebm::detail
