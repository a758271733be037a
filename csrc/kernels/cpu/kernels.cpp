// Compiled once per instruction set, with TORCH_EBM_ISA naming it. Everything but the table that this
// file exports has internal linkage: code for one instruction set must not be merged with another's.

#include "csrc/kernels/cpu/kernels.h"

#include "csrc/kernels/cpu/activations.h"
#include "csrc/kernels/cpu/boltzmann.h"
#include "csrc/kernels/cpu/discrete_langevin.h"
#include "csrc/kernels/cpu/flips.h"
#include "csrc/kernels/cpu/hamiltonian.h"
#include "csrc/kernels/cpu/lanes.h"
#include "csrc/kernels/cpu/normal.h"
#include "csrc/kernels/cpu/rbm_flips.h"
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

/// The value of the row in every lane; rows beyond the last one are in lanes that are never stored.
template <typename T>
TORCH_EBM_INLINE Lanes<T> of_rows(PerRow<T> values, Lanes<uint32_t> rows, int64_t count) {
  if (values.stride == 0) return broadcast(*values.data);
  Lanes<T> result{};
  for (int64_t lane = 0; lane < smaller(count, kLanes); ++lane) result[lane] = values[rows[lane]];
  return result;
}

template <typename T>
bool langevin_update(const T* x, const T* score, LangevinScales<T> scales, T* next, Tiles tiles,
                     Draw draw) {
  Mask<T> bad{};
  const auto step = [&](int64_t i, int64_t count, Lanes<T> drift, Lanes<T> noise,
                        Lanes<T> normal) TORCH_EBM_INLINE_LAMBDA {
    const Lanes<T> g = clamp(load(score + i, count), -scales.max_score, scales.max_score);
    const Lanes<T> moved = load(x + i, count) + drift * g + noise * normal;
    const Lanes<T> result = clamp(moved, scales.low, scales.high);
    bad |= not_finite<T>(result);
    store(next + i, result, count);
  };
  if (tiles.n_sites <= kLanes / 2) {  // a row is one tile
    for_each_normal_of_short_rows<T>(draw, {tiles.begin, tiles.end, tiles.n_sites},
                                     [&](int64_t i, int64_t count, Lanes<uint32_t> rows,
                                         Lanes<T> normal) TORCH_EBM_INLINE_LAMBDA {
                                       step(i, count, of_rows(scales.drift, rows, count),
                                            of_rows(scales.noise, rows, count), normal);
                                     });
    return !any(bad);
  }
  for_each_row(tiles, [&](int64_t row, int64_t begin, int64_t end) TORCH_EBM_INLINE_LAMBDA {
    const int64_t offset = row * tiles.n_sites;
    const Lanes<T> drift = broadcast(scales.drift[row]);
    const Lanes<T> noise = broadcast(scales.noise[row]);
    for_each_normal<T>(draw, row, begin, end,
                       [&](int64_t site, int64_t count, Lanes<T> normal) TORCH_EBM_INLINE_LAMBDA {
                         step(offset + site, count, drift, noise, normal);
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

/// With some rows and two registers of columns at a time, every loaded value of w serves as many
/// multiplications as there are rows, and twice as many independent sums are in flight (Goto & van
/// de Geijn 2008, section 6.1). AVX-512 has registers for eight rows.
constexpr int64_t kBlockRows = kLanes == 16 ? 8 : 4;
constexpr int64_t kBlockColumns = 2 * kLanes;
static_assert(kPaddedTo % kBlockColumns == 0);

/// The first kRegisters * kLanes columns of w, of which n_columns are stored.
template <int64_t kRows, int64_t kRegisters, typename T>
TORCH_EBM_INLINE void multiply_block(const T* x, Padded<T> w, T* out, int64_t stride,
                                     int64_t n_columns) {
  Lanes<T> sums[kRows][kRegisters] = {};
  for (int64_t i = 0; i < w.n_rows; ++i) {
    for (int64_t r = 0; r < kRegisters; ++r) {
      const Lanes<T> values = load(w.row(i) + r * kLanes, kLanes);
      for (int64_t row = 0; row < kRows; ++row) sums[row][r] += x[row * w.n_rows + i] * values;
    }
  }
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t r = 0; r < kRegisters; ++r) {
      store(out + row * stride + r * kLanes, sums[row][r], n_columns - r * kLanes);
    }
  }
}

template <int64_t kRows, typename T>
TORCH_EBM_INLINE void multiply_rows(const T* x, Padded<T> w, T* out, int64_t n_columns) {
  for (int64_t column = 0; column < n_columns; column += kBlockColumns) {
    const Padded<T> part{w.data + column, w.n_rows, w.stride};
    const int64_t left = n_columns - column;
    if (left > kLanes) {
      multiply_block<kRows, 2>(x, part, out + column, n_columns, left);
    } else {
      multiply_block<kRows, 1>(x, part, out + column, n_columns, left);
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
                          &draw_momentum<T>,
                          &kick_and_drift<T>,
                          &kick<T>,
                          &add_dot<T>,
                          &langevin_update<T>,
                          &boltzmann_gibbs<T>,
                          &boltzmann_random_scan<T>,
                          &gibbs_with_gradients<T>,
                          &activate<T>,
                          &weigh_flips<T>,
                          &propose_flip<T>,
                          &flip_log_probability<T>,
                          &flip_all<T>,
                          &flip_all_log_probability<T>,
                          &rbm_flip_sums<T>,
                          &rbm_flip_sums_backward<T>};

}  // namespace

namespace TORCH_EBM_ISA {
extern const Table<float> float_table = kTable<float>;
extern const Table<double> double_table = kTable<double>;
}  // namespace TORCH_EBM_ISA

}  // namespace torch_ebm::kernels
