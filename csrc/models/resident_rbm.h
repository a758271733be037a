#pragma once
// An RBM whose weights fit in the cache of a core. Then a step of a chain is so short that threads would
// spend it waiting for each other after every product; instead each thread takes its own chains through
// many steps.

#include <ATen/Parallel.h>

#include <algorithm>

#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

/// n rounded up to what the rows of a kernels::Padded have.
inline int64_t padded_size(int64_t n) {
  return (n + kernels::kPaddedTo - 1) / kernels::kPaddedTo * kernels::kPaddedTo;
}

/// Whether ResidentRBM can and should do the work. Depends on the parameters alone, not on the number of
/// chains: sums are rounded differently on the two ways. A layer of a few units alone is not worth its
/// padding.
inline bool weights_fit_in_cache(const at::Tensor& weight) {
  constexpr int64_t kMaxBytes = 256 * 1024;  // for the weights, and for their transposed copy
  const int64_t n_visible = weight.size(0);
  const int64_t n_hidden = weight.size(1);
  const int64_t largest =
      std::max(n_visible * padded_size(n_hidden), n_hidden * padded_size(n_visible));
  return weight.is_cpu() &&
         (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kDouble) &&
         largest * weight.element_size() <= kMaxBytes;
}

template <typename T>
class ResidentRBM {
 public:
  explicit ResidentRBM(const at::Tensor& weight)
      : weight_(padded(weight)), transposed_(padded(weight.t())) {}

  int64_t n_visible() const { return weight_.size(0); }
  int64_t n_hidden() const { return transposed_.size(0); }

  /// h = v W and v = h W^T, for the chains [begin, end).
  void hidden_input(const T* v, T* h, int64_t begin, int64_t end) const {
    kernels_.multiply(v, view(weight_), h, {begin, end, n_hidden()});
  }
  void visible_input(const T* h, T* v, int64_t begin, int64_t end) const {
    kernels_.multiply(h, view(transposed_), v, {begin, end, n_visible()});
  }

  /// Calls body(begin, end, first, last) for chains [begin, end) and steps [first, last), in parallel over
  /// chains, and reports progress every few milliseconds.
  template <typename Body>
  void for_each_step(const char* op, int64_t n_chains, int64_t n_steps, Body body) const {
    constexpr int64_t kWorkAtOnce = 1 << 25;  // additions
    constexpr int64_t kWorthAThread = 1 << 16;
    constexpr int64_t kWorkOfADraw = 64;
    const int64_t work =
        std::max<int64_t>(1, n_visible() * n_hidden() + kWorkOfADraw * (n_visible() + n_hidden()));
    const int64_t steps_at_once = std::max<int64_t>(1, kWorkAtOnce / (work * n_chains));
    Progress progress(op, n_steps);
    for (int64_t first = 0; first < n_steps; first += steps_at_once) {
      const int64_t last = std::min(n_steps, first + steps_at_once);
      const int64_t grain = std::max<int64_t>(1, kWorthAThread / (work * (last - first)));
      at::parallel_for(0, n_chains, grain,
                       [&](int64_t begin, int64_t end) { body(begin, end, first, last); });
      progress.step(last);
    }
  }

 private:
  static at::Tensor padded(const at::Tensor& matrix) {
    const int64_t padding = padded_size(matrix.size(1)) - matrix.size(1);
    return at::constant_pad_nd(matrix, {0, padding}).contiguous();
  }
  static kernels::Padded<T> view(const at::Tensor& matrix) {
    return {matrix.const_data_ptr<T>(), matrix.size(0), matrix.size(1)};
  }

  const kernels::Table<T>& kernels_ = kernels::kernels<T>();
  at::Tensor weight_;
  at::Tensor transposed_;
};

}  // namespace torch_ebm::detail
