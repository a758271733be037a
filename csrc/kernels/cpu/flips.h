#pragma once
// Flips of one unit of a binary chain, proposed in proportion to exp(d_i / 2): d_i = (1 - 2 x_i) score_i is what flipping
// unit i adds to log p, to first order (Grathwohl et al. 2021, equations 3 and 6).

#include <limits>

#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

/// The largest of the values 0 ... n - 1 that at(i), a register of values from i on, holds. NaN is passed over.
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

/// The first i whose weights up to it exceed `rest`, from which those before it are taken. Never one of weight 0: what
/// roundings leave over goes to the last with a weight.
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

/// sum_i exp(d_i / 2) = exp(max) total; total is NaN unless all d_i are finite.
struct FlipSum {
  double max;
  double total;

  /// log q of the flip of a unit, by half its d.
  double log_probability(double half_change) const {
    return half_change - max - __builtin_log(total);
  }
};

/// weight[i] <- exp(d_i / 2 - max), followed by zeros up to a multiple of kTileSites.
template <typename T>
FlipSum weigh_changes(const T* x, const T* score, int64_t n, T* weight) {
  const auto half_d = [&](int64_t i) TORCH_EBM_INLINE_LAMBDA -> Lanes<T> {
    return half_change(x + i, score + i, n - i);
  };
  constexpr T kLeast = -87;  // below it exp() is cut: no weight
  const T max = largest<T>(n, half_d);
  Mask<T> bad{};
  double total = 0;
  for (int64_t tile = 0; tile < n; tile += kTileSites) {
    for (int64_t i = tile; i < tile + kTileSites; i += kLanes) {
      const Lanes<T> half = half_d(i);
      const Lanes<T> relative = half - max;
      bad |= not_finite<T>(half);
      const Lanes<T> w = relative > kLeast ? exp(relative) : broadcast(T(0));
      store<T>(weight + i, first_lanes<T>(w, n - i, 0), kLanes);
    }
    total += sum_tile(weight + tile);
  }
  return {max, any(bad) ? std::numeric_limits<double>::quiet_NaN() : total};
}

/// Unit i with probability weight[i] / total, by u in (0, 1): first its tile, then the unit.
template <typename T>
int64_t pick_unit(const T* weight, int64_t n, double total, double u) {
  double rest = u * total;
  const int64_t n_tiles = (n + kTileSites - 1) / kTileSites;
  const int64_t first = kTileSites * walk(n_tiles, rest, [&](int64_t tile) {
                          return sum_tile(weight + tile * kTileSites);
                        });
  return first + walk(kTileSites, rest, [&](int64_t i) { return weight[first + i]; });
}

template <typename T>
void propose_flip(const T* x, const T* score, const double* uniform, int64_t* site,
                  double* log_probability, T* scratch, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* const mine = x + row * rows.n_sites;
    const T* const slope = score + row * rows.n_sites;
    const FlipSum sum = weigh_changes(mine, slope, rows.n_sites, scratch);
    const int64_t i = pick_unit(scratch, rows.n_sites, sum.total, uniform[row]);
    site[row] = i;
    log_probability[row] = sum.log_probability((0.5 - mine[i]) * slope[i]);
  }
}

template <typename T>
void flip_log_probability(const T* x, const T* score, const int64_t* site, double* log_probability,
                          T* scratch, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const T* const mine = x + row * rows.n_sites;
    const T* const slope = score + row * rows.n_sites;
    const FlipSum sum = weigh_changes(mine, slope, rows.n_sites, scratch);
    const int64_t i = site[row];
    log_probability[row] = sum.log_probability((0.5 - mine[i]) * slope[i]);
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
