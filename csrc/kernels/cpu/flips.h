#pragma once
// Flips of one unit of a binary chain, proposed in proportion to exp(d_i / 2): d_i = (1 - 2 x_i) score_i is what flipping
// unit i adds to log p, to first order (Grathwohl et al. 2021, equations 3 and 6).

#include <limits>

#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

/// The largest of the values 0 ... n - 1 that at(i), a register of values from i on, holds. NaN is
/// ignored.
template <typename T, typename At>
TORCH_EBM_INLINE T largest(int64_t n, At at) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  Lanes<T> lane_max = broadcast(kLowest);
  for (int64_t i = 0; i < n; i += kLanes) {
    const Lanes<T> value = first_lanes<T>(at(i), n - i, kLowest);
    lane_max = value > lane_max ? value : lane_max;
  }
  T max = kLowest;
  for (int lane = 0; lane < kLanes; ++lane) max = lane_max[lane] > max ? lane_max[lane] : max;
  return max;
}

/// The first i at which the cumulative weight exceeds `rest`; the weights before it are subtracted
/// from `rest`. Never one of weight 0: what rounding leaves over goes to the last one with a
/// positive weight.
template <typename WeightOf>
TORCH_EBM_INLINE int64_t walk(int64_t n, double& rest, WeightOf weight_of) {
  int64_t picked = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double weight = weight_of(i);
    if (weight == 0) continue;
    picked = i;
    if (rest < weight) break;
    rest -= weight;
  }
  return picked;
}

/// The sum of kTileSites weights, in an order that does not depend on the registers.
template <typename T>
TORCH_EBM_INLINE double sum_tile(const T* weight) {
  double part[kTileLanes] = {};
  for (int first = 0; first < kTileSites; first += kTileLanes) {
    for (int i = 0; i < kTileLanes; ++i) part[i] += weight[first + i];
  }
  for (int width = kTileLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) part[i] += part[i + width];
  }
  return part[0];
}

template <typename T>
TORCH_EBM_INLINE Lanes<T> half_change(const T* x, const T* score, int64_t count) {
  return (T(0.5) - load(x, count)) * load(score, count);
}

constexpr int64_t tiles_of(int64_t n_sites) { return (n_sites + kTileSites - 1) / kTileSites; }

/// weight[i] <- exp(d_i / 2 - max) of the units of one tile, of which the first `count` exist; the
/// others get weight 0. Sets `bad` where a d_i is not finite.
template <typename T>
TORCH_EBM_INLINE void weigh_tile(const T* x, const T* score, int64_t count, T max, T* weight,
                                 Mask<T>& bad) {
  constexpr T kLeast = -87;  // exp() is clamped below it: weight 0
  for (int64_t i = 0; i < kTileSites; i += kLanes) {
    const Lanes<T> half = half_change(x + i, score + i, count - i);
    const Lanes<T> relative = half - max;
    bad |= not_finite<T>(half);
    const Lanes<T> w = relative > kLeast ? exp(relative) : broadcast(T(0));
    store<T>(weight + i, first_lanes<T>(w, count - i, 0), kLanes);
  }
}

template <typename T>
void weigh_flips(const T* x, const T* score, FlipWeights weights, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* const mine = x + row * rows.n_sites;
    const T* const slope = score + row * rows.n_sites;
    const T max = largest<T>(rows.n_sites, [&](int64_t i) TORCH_EBM_INLINE_LAMBDA -> Lanes<T> {
      return half_change(mine + i, slope + i, rows.n_sites - i);
    });
    Mask<T> bad{};
    for (int64_t tile = 0; tile < tiles_of(rows.n_sites); ++tile) {
      const int64_t first = tile * kTileSites;
      T weight[kTileSites];
      weigh_tile(mine + first, slope + first, rows.n_sites - first, max, weight, bad);
      weights.of_tiles(row)[tile] = sum_tile(weight);
    }
    weights.max(row) = any(bad) ? std::numeric_limits<double>::quiet_NaN() : max;
  }
}

/// log q of a flip, by half its d.
template <typename T>
double log_probability_of(const T* x, const T* score, FlipWeights weights, int64_t row,
                          int64_t n_sites, int64_t site) {
  const int64_t i = row * n_sites + site;
  double total = 0;
  for (int64_t tile = 0; tile < tiles_of(n_sites); ++tile) total += weights.of_tiles(row)[tile];
  return (0.5 - x[i]) * score[i] - weights.max(row) - __builtin_log(total);
}

template <typename T>
void propose_flip(const T* x, const T* score, FlipWeights weights, const double* uniform,
                  int64_t* site, double* log_probability, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const double* const of_tiles = weights.of_tiles(row);
    const int64_t n_tiles = tiles_of(rows.n_sites);
    double rest = 0;
    for (int64_t tile = 0; tile < n_tiles; ++tile) rest += of_tiles[tile];
    rest *= uniform[row];
    const int64_t first =
        kTileSites * walk(n_tiles, rest, [&](int64_t tile) { return of_tiles[tile]; });
    T weight[kTileSites];
    Mask<T> bad{};
    const int64_t offset = row * rows.n_sites + first;
    weigh_tile(x + offset, score + offset, rows.n_sites - first, static_cast<T>(weights.max(row)),
               weight, bad);
    site[row] = first + walk(kTileSites, rest, [&](int64_t i) { return weight[i]; });
    log_probability[row] = log_probability_of(x, score, weights, row, rows.n_sites, site[row]);
  }
}

template <typename T>
void flip_log_probability(const T* x, const T* score, FlipWeights weights, const int64_t* site,
                          double* log_probability, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    log_probability[row] = log_probability_of(x, score, weights, row, rows.n_sites, site[row]);
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
