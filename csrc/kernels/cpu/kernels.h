#pragma once
// Loops over raw memory: no at:: types, no autograd, no checks, no threads. Callers own all three.
//
// kernels.cpp is compiled once per instruction set (see CMakeLists.txt); kernels() picks the best one
// that this processor runs. All of them draw the same random words for the same (key, chain, step,
// stream, site).

#include <cstdint>

namespace torch_ebm::kernels {

/// Which random numbers a pass uses: one 64-bit key per op call, then a counter.
struct Draw {
  uint64_t key;
  uint32_t step;
  uint32_t stream;  // keeps apart the passes of one step (hidden, visible, start, ...)
};

/// Rows [begin, end) of a row-major matrix with `n_sites` columns. Row index = chain index.
struct Rows {
  int64_t begin;
  int64_t end;
  int64_t n_sites;
};

/// One value per row, or the same value for every row (stride 0).
template <typename T>
struct PerRow {
  const T* data;
  int64_t stride;
  T operator[](int64_t row) const { return data[row * stride]; }
};

/// A row-major matrix whose rows are followed by zeros up to a multiple of kPaddedTo values, so that
/// kernels read whole registers.
template <typename T>
struct Padded {
  const T* data;
  int64_t n_rows;
  int64_t stride;
};
constexpr int64_t kPaddedTo = 32;

template <typename T>
struct Table {
  /// field[i, j] <- 1 with probability sigmoid(beta[i] * (field[i, j] + bias[j])), else 0.
  /// Returns false if a logit was NaN; the matching entry is then 0.
  bool (*sample_bernoulli)(T* field, const T* bias, PerRow<T> beta, Rows rows, Draw draw);

  /// log_ratio[i] += sum_j softplus(beta * a) - softplus(beta_previous * a), a = field[i, j] + bias[j].
  /// Accurate relative to the difference itself, however close the two temperatures.
  void (*add_softplus_difference)(const T* field, const T* bias, T beta_previous, T beta,
                                  double* log_ratio, Rows rows);

  /// out[i, j] <- a standard normal number.
  void (*fill_normal)(T* out, Rows rows, Draw draw);

  /// out[i, j] <- a uniform number in (0, 1): the one that sample_bernoulli compares with.
  void (*fill_uniform)(T* out, Rows rows, Draw draw);

  bool (*all_binary)(const T* x, int64_t n);
  bool (*all_finite)(const T* x, int64_t n);

  /// out = x w: `rows` are those of out; x has w.n_rows columns. For a w that stays in the cache. Row i
  /// of out is rounded in the same way whatever the rows around it.
  void (*multiply)(const T* x, Padded<T> w, T* out, Rows rows);

  /// log_ratio[i] += scale * sum_j x[i, j] y[j].
  void (*add_dot)(const T* x, const T* y, double scale, double* log_ratio, Rows rows);
};

template <typename T>
const Table<T>& kernels();

/// The instruction set that kernels() picked: "avx512", "avx2" or "baseline".
const char* instruction_set();

}  // namespace torch_ebm::kernels
