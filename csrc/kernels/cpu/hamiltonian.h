#pragma once
// Passes of Hamiltonian dynamics over the states x and the momenta p of the chains.

#include "csrc/kernels/cpu/normal.h"

namespace torch_ebm::kernels {
namespace {

template <typename T>
TORCH_EBM_INLINE Lanes<T> load(PerUnit<T> values, int64_t row, int64_t site, int64_t count) {
  if (values.one_for_all) return broadcast(*values.data);
  return load(values.data + row * values.row_stride + site, count);
}

template <typename T>
void draw_momentum(PerUnit<T> deviation, T* momentum, double* kinetic, Rows rows, Draw draw) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const p = momentum + row * rows.n_sites;
    Lanes<double> total{};
    for_each_normal<T>(draw, row, 0, rows.n_sites,
                       [&](int64_t site, int64_t count, Lanes<T> normal) TORCH_EBM_INLINE_LAMBDA {
                         store(p + site, load(deviation, row, site, count) * normal, count);
                         const Lanes<T> drawn = first_lanes<T>(normal, count, 0);
                         total += __builtin_convertvector(drawn * drawn, Lanes<double>);
                       });
    kinetic[row] = 0.5 * sum<double>(total);
  }
}

template <typename T>
void kick_and_drift(const T* x, const T* momentum, const T* score, LeapScales<T> scales, T* next_x,
                    T* next_momentum, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t offset = row * rows.n_sites;
    const T kick = scales.kick[row], drift = scales.drift[row];
    for_each_register(rows.n_sites, [&](int64_t site, int64_t count) TORCH_EBM_INLINE_LAMBDA {
      const int64_t i = offset + site;
      const Lanes<T> p = load(momentum + i, count) + kick * load(score + i, count);
      store(next_momentum + i, p, count);
      const Lanes<T> speed = load(scales.inverse_mass, row, site, count) * p;
      store(next_x + i, load(x + i, count) + drift * speed, count);
    });
  }
}

template <typename T>
void kick(const T* momentum, const T* score, PerRow<T> kick, PerUnit<T> inverse_mass,
          T* next_momentum, double* kinetic, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t offset = row * rows.n_sites;
    const T time = kick[row];
    Lanes<double> total{};
    for_each_register(rows.n_sites, [&](int64_t site, int64_t count) TORCH_EBM_INLINE_LAMBDA {
      const int64_t i = offset + site;
      const Lanes<T> p = load(momentum + i, count) + time * load(score + i, count);
      store(next_momentum + i, p, count);
      const Lanes<T> w = load(inverse_mass, row, site, count);
      total += __builtin_convertvector(w * p * p, Lanes<double>);  // padding: p = 0
    });
    kinetic[row] = 0.5 * sum<double>(total);
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
