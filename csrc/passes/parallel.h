#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// Splits n_rows x n_sites over the threads; body(rows) runs a kernel on raw memory. At least 16384
/// sites per thread: less is not worth waking one.
template <typename Body>
void parallel_rows(int64_t n_rows, int64_t n_sites, Body body) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n_sites));
  at::parallel_for(0, n_rows, grain,
                   [&](int64_t begin, int64_t end) { body(kernels::Rows{begin, end, n_sites}); });
}

/// The same for a kernel that takes tiles, so that one long row is split too.
template <typename Body>
void parallel_tiles(int64_t n_rows, int64_t n_sites, Body body) {
  const int64_t per_row = (n_sites + kernels::kTileSites - 1) / kernels::kTileSites;
  at::parallel_for(0, n_rows * per_row, 16384 / kernels::kTileSites,
                   [&](int64_t begin, int64_t end) { body(kernels::Tiles{begin, end, n_sites}); });
}

}  // namespace torch_ebm::passes
