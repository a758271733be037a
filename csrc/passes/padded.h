#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

/// n rounded up to the length of a padded row.
inline int64_t padded_size(int64_t n) {
  return (n + kernels::kPaddedTo - 1) / kernels::kPaddedTo * kernels::kPaddedTo;
}

/// x, contiguous, with zeros at the end of every row up to its padded size.
inline at::Tensor padded(const at::Tensor& x) {
  const int64_t padding = padded_size(x.size(-1)) - x.size(-1);
  return padding == 0 ? x.contiguous() : at::constant_pad_nd(x, {0, padding}).contiguous();
}

template <typename T>
kernels::Padded<T> view_padded(const at::Tensor& matrix) {
  return {matrix.const_data_ptr<T>(), matrix.size(0), matrix.size(1)};
}

/// Whether products with this matrix and with its transpose are the kernels' own: not if it is larger than a
/// core's cache. Depends on the parameters alone, not on the number of chains: the two methods
/// round sums differently.
inline bool fits_in_cache(const at::Tensor& matrix) {
  constexpr int64_t kMaxBytes = 256 * 1024;  // for the matrix, and for its transposed copy
  const int64_t largest = std::max(matrix.size(0) * padded_size(matrix.size(1)),
                                   matrix.size(1) * padded_size(matrix.size(0)));
  return largest * matrix.element_size() <= kMaxBytes;
}

}  // namespace torch_ebm::detail
