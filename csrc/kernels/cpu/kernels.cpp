// Compiled once per instruction set, with TORCH_EBM_ISA naming it. Everything but the table that this
// file exports has internal linkage: code for one instruction set must not be merged with another's.

#include "csrc/kernels/cpu/kernels.h"

#include "csrc/kernels/cpu/boltzmann.h"
#include "csrc/kernels/cpu/flips.h"
#include "csrc/kernels/cpu/lanes.h"
#include "csrc/kernels/cpu/normal.h"
#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

template <typename T>
bool sample_bernoulli(T* field, const T* bias, PerRow<T> beta, Rows rows, Draw draw) {
  Mask<T> nan{};
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const x = field + row * rows.n_sites;
    const T row_beta = beta[row];
    for_each_site(draw, row, rows.n_sites,
                  [&](int64_t site, int64_t count, Lanes<uint32_t> words) TORCH_EBM_INLINE_LAMBDA {
                    const Lanes<T> logit =
                        row_beta * (load(x + site, count) + load(bias + site, count));
                    // u < 1 / (1 + e^-logit), without the division.
                    const Mask<T> one = uniform<T>(words) * (exp(-logit) + T(1)) < T(1);
                    nan |= logit != logit;
                    store(x + site, (Lanes<T>)(one & (Mask<T>)broadcast(T(1))), count);
                  });
  }
  return !any(nan);
}

template <typename T>
void add_softplus_difference(const T* field, const T* bias, T beta_previous, T beta,
                             double* log_ratio, Rows rows) {
  // softplus(b a) - softplus(b' a) = (b - b') max(a, 0) + log1p(expm1(-(b - b')|a|) sigmoid(-b'|a|))
  // for b >= b' >= 0: nothing cancels, and the argument of log1p lies in [-1/2, 0].
  const T difference = beta - beta_previous;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* const x = field + row * rows.n_sites;
    double total = 0;
    for (int64_t site = 0; site < rows.n_sites; site += kLanes) {
      const int64_t count = rows.n_sites - site;
      const Lanes<T> a = load(x + site, count) + load(bias + site, count);  // padding: a = 0 adds 0
      const Lanes<T> magnitude = a < T(0) ? -a : a;
      const Lanes<T> sigmoid = T(1) / (exp(beta_previous * magnitude) + T(1));
      const Lanes<T> correction = log1p_negative_half(expm1(-difference * magnitude) * sigmoid);
      total += sum<T>(difference * (a > T(0) ? a : broadcast(T(0))) + correction);
    }
    log_ratio[row] += total;
  }
}

template <typename T>
void fill_uniform(T* out, Rows rows, Draw draw) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const x = out + row * rows.n_sites;
    for_each_site(draw, row, rows.n_sites,
                  [&](int64_t site, int64_t count, Lanes<uint32_t> words)
                      TORCH_EBM_INLINE_LAMBDA { store(x + site, uniform<T>(words), count); });
  }
}

template <typename T>
void fill_normal(T* out, Rows rows, Draw draw) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const x = out + row * rows.n_sites;
    for_each_normal<T>(draw, row, 0, rows.n_sites,
                       [&](int64_t site, int64_t count, Lanes<T> normal)
                           TORCH_EBM_INLINE_LAMBDA { store(x + site, normal, count); });
  }
}

/// Calls body(row, begin, end) for the sites [begin, end) of every row that `tiles` touches.
template <typename Body>
TORCH_EBM_INLINE void for_each_row(Tiles tiles, Body body) {
  const int64_t per_row = (tiles.n_sites + kTileSites - 1) / kTileSites;
  for (int64_t tile = tiles.begin; tile < tiles.end;) {
    const int64_t row = tile / per_row;
    const int64_t last = smaller(tiles.end, (row + 1) * per_row);
    body(row, (tile - row * per_row) * kTileSites,
         smaller(tiles.n_sites, (last - row * per_row) * kTileSites));
    tile = last;
  }
}

template <typename T>
bool langevin_update(const T* x, const T* score, LangevinScales<T> scales, T* next, Tiles tiles,
                     Draw draw) {
  Mask<T> bad{};
  for_each_row(tiles, [&](int64_t row, int64_t begin, int64_t end) TORCH_EBM_INLINE_LAMBDA {
    const int64_t offset = row * tiles.n_sites;
    const T drift = scales.drift[row];
    const T noise = scales.noise[row];
    for_each_normal<T>(draw, row, begin, end,
                       [&](int64_t site, int64_t count, Lanes<T> normal) TORCH_EBM_INLINE_LAMBDA {
                         const int64_t i = offset + site;
                         const Lanes<T> g =
                             clamp(load(score + i, count), -scales.max_score, scales.max_score);
                         const Lanes<T> moved = load(x + i, count) + drift * g + noise * normal;
                         const Lanes<T> result = clamp(moved, scales.low, scales.high);
                         bad |= not_finite<T>(result);
                         store(next + i, result, count);
                       });
  });
  return !any(bad);
}

template <typename T>
bool all_binary(const T* x, int64_t n) {
  Mask<T> bad{};
  for (int64_t i = 0; i < n; i += kLanes) {
    const Lanes<T> lanes = load(x + i, n - i);  // padding: 0 is binary
    bad |= (lanes != T(0)) & (lanes != T(1));
  }
  return !any(bad);
}

/// Four rows and two registers of columns at a time keep every value of w that is loaded in use for four
/// multiplications, and eight independent sums in flight (Goto & van de Geijn 2008, section 6.1).
constexpr int64_t kBlockRows = 4;
constexpr int64_t kBlockColumns = 2 * kLanes;
static_assert(kPaddedTo % kBlockColumns == 0);

template <int64_t kRows, typename T>
TORCH_EBM_INLINE void multiply_rows(const T* x, Padded<T> w, T* out, int64_t n_columns) {
  for (int64_t column = 0; column < n_columns; column += kBlockColumns) {
    Lanes<T> left[kRows] = {};
    Lanes<T> right[kRows] = {};
    const T* w_row = w.data + column;
    for (int64_t i = 0; i < w.n_rows; ++i, w_row += w.stride) {
      const Lanes<T> w_left = load(w_row, kLanes);
      const Lanes<T> w_right = load(w_row + kLanes, kLanes);
      for (int64_t row = 0; row < kRows; ++row) {
        left[row] += x[row * w.n_rows + i] * w_left;
        right[row] += x[row * w.n_rows + i] * w_right;
      }
    }
    for (int64_t row = 0; row < kRows; ++row) {
      T* const to = out + row * n_columns + column;
      store(to, left[row], n_columns - column);
      store(to + kLanes, right[row], n_columns - column - kLanes);
    }
  }
}

template <typename T>
void multiply(const T* x, Padded<T> w, T* out, Rows rows) {
  int64_t row = rows.begin;
  for (; row + kBlockRows <= rows.end; row += kBlockRows) {
    multiply_rows<kBlockRows>(x + row * w.n_rows, w, out + row * rows.n_sites, rows.n_sites);
  }
  for (; row < rows.end; ++row) {
    multiply_rows<1>(x + row * w.n_rows, w, out + row * rows.n_sites, rows.n_sites);
  }
}

template <typename T>
void add_dot(const T* x, const T* y, double scale, double* log_ratio, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* const x_row = x + row * rows.n_sites;
    Lanes<T> total{};
    for (int64_t site = 0; site < rows.n_sites; site += kLanes) {
      const int64_t count = rows.n_sites - site;
      total += load(x_row + site, count) * load(y + site, count);
    }
    log_ratio[row] += scale * sum<T>(total);
  }
}

template <typename T>
constexpr Table<T> kTable{&sample_bernoulli<T>,
                          &add_softplus_difference<T>,
                          &fill_normal<T>,
                          &fill_uniform<T>,
                          &all_binary<T>,
                          &all_finite<T>,
                          &multiply<T>,
                          &add_dot<T>,
                          &langevin_update<T>,
                          &boltzmann_gibbs<T>,
                          &gibbs_with_gradients<T>,
                          &propose_flip<T>,
                          &flip_log_probability<T>};

}  // namespace

namespace TORCH_EBM_ISA {
extern const Table<float> float_table = kTable<float>;
extern const Table<double> double_table = kTable<double>;
}  // namespace TORCH_EBM_ISA

}  // namespace torch_ebm::kernels
