#pragma once
// The discrete Langevin proposal of binary chains: every unit is flipped or not, on its own.

#include <limits>

#include "csrc/kernels/cpu/activations.h"
#include "csrc/kernels/cpu/flips.h"
#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

/// The logit of flipping each of some units.
template <typename T>
TORCH_EBM_INLINE Lanes<T> flip_logit(const T* x, const T* score, T penalty, int64_t count) {
  return half_change(x, score, count) - penalty;
}

template <typename T>
void flip_all(const T* x, const T* score, PerRow<T> penalty, T* next, Rows rows, Draw draw) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t first = row * rows.n_sites;
    for_each_site(draw, row, rows.n_sites,
                  [&](int64_t site, int64_t count, Lanes<uint32_t> words) TORCH_EBM_INLINE_LAMBDA {
                    const int64_t i = first + site;
                    const Lanes<T> logit = flip_logit(x + i, score + i, penalty[row], count);
                    // u >= 1 / (1 + e^logit), without the division.
                    const Mask<T> flip = uniform<T>(words) * (exp(logit) + T(1)) >= T(1);
                    const Lanes<T> state = load(x + i, count);
                    store(next + i, flip ? T(1) - state : state, count);
                  });
  }
}

template <typename T>
void flip_all_log_probability(const T* x, const T* score, PerRow<T> penalty, const T* next,
                              double* log_probability, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t end = (row + 1) * rows.n_sites;
    double total = 0;
    Mask<T> bad{};
    for (int64_t tile = row * rows.n_sites; tile < end; tile += kTileSites) {
      Lanes<T> of_tile{};
      for (int64_t i = tile; i < smaller(end, tile + kTileSites); i += kLanes) {
        const int64_t count = end - i;
        const Lanes<T> logit = flip_logit(x + i, score + i, penalty[row], count);
        const Mask<T> stays = load(x + i, count) == load(next + i, count);
        bad |= not_finite<T>(load(score + i, count));
        of_tile -= first_lanes<T>(softplus<T>(stays ? logit : -logit).value, count, 0);
      }
      total += sum<T>(of_tile);
    }
    log_probability[row] = any(bad) ? std::numeric_limits<double>::quiet_NaN() : total;
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
