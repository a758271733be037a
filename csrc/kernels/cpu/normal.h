#pragma once
// Normal numbers, one from every random word.

#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

/// Two independent normal numbers from two words (Box & Muller 1958): the polar coordinates of a point of the
/// plane, made rectangular.
template <typename T>
TORCH_EBM_INLINE void box_muller(Lanes<uint32_t> radius_word, Lanes<uint32_t> angle_word,
                                 Lanes<T>& x, Lanes<T>& y) {
  Lanes<T> log_u, sin, cos;
  log_uniform(radius_word, log_u);
  sin_cos(angle_word, sin, cos);
  const Lanes<T> radius = sqrt(T(-2) * log_u);
  x = radius * cos;
  y = radius * sin;
}

/// Calls body(site, count, normals) for every register-wide group of the sites [begin, end) of one row; begin
/// is a multiple of kTileSites. Words 0 and 1 of a block make the numbers of their two sites, words 2 and 3
/// those of the other two.
template <typename T, typename Body>
TORCH_EBM_INLINE void for_each_normal(Draw draw, int64_t chain, int64_t begin, int64_t end,
                                      Body body) {
  for_each_block(draw, chain, begin, end,
                 [&](int64_t first, const Lanes<uint32_t>* words) TORCH_EBM_INLINE_LAMBDA {
                   for (int pair = 0; pair < 4; pair += 2) {
                     const int64_t site = first + pair * kTileLanes;
                     const int64_t other = site + kTileLanes;
                     if (site >= end) break;
                     Lanes<T> x, y;
                     box_muller<T>(words[pair], words[pair + 1], x, y);
                     body(site, end - site, x);
                     if (other < end) body(other, end - other, y);
                   }
                 });
}

/// The same numbers for rows [begin, end) so short, of at most half a register, that a register holds several:
/// calls body(i, count, chains, normals) for every group, i counted from the start of row 0 through all rows.
template <typename T, typename Body>
TORCH_EBM_INLINE void for_each_normal_of_short_rows(Draw draw, Rows rows, Body body) {
  const auto n_sites = static_cast<uint32_t>(rows.n_sites);
  Lanes<uint32_t> chain = broadcast(static_cast<uint32_t>(rows.begin));
  Lanes<uint32_t> site = lane_numbers();
  const auto carry = [&]() TORCH_EBM_INLINE_LAMBDA {
    while (any(site >= n_sites)) {
      const auto beyond = (Lanes<uint32_t>)(site >= n_sites);  // all bits, that is -1, where true
      site -= beyond & n_sites;
      chain -= beyond;
    }
  };
  carry();
  for (int64_t i = rows.begin * n_sites; i < rows.end * n_sites; i += kLanes) {
    Lanes<uint32_t> words[4];
    threefry(draw, chain, site, words);
    Lanes<T> x, y;
    box_muller<T>(words[0], words[1], x, y);
    body(i, rows.end * n_sites - i, chain, x);
    chain += kLanes / n_sites;
    site += kLanes % n_sites;
    carry();
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
