#pragma once
// Chains of a fully visible Boltzmann machine. The field of a chain, bias + x coupling, stays in the cache: a flip
// of unit i changes it by row i of the coupling.

#include "csrc/kernels/cpu/flips.h"
#include "csrc/kernels/cpu/normal.h"

namespace torch_ebm::kernels {
namespace {

/// to = from + scale * row, all padded.
template <typename T>
TORCH_EBM_INLINE void add_row(const T* from, T scale, const T* row, T* to, int64_t n) {
  for (int64_t site = 0; site < n; site += kLanes) {
    store<T>(to + site, load(from + site, kLanes) + scale * load(row + site, kLanes), kLanes);
  }
}

/// field <- bias + x coupling, for x of zeros and ones.
template <typename T>
void compute_field(const T* x, const Boltzmann<T>& model, int64_t row, T* field) {
  const T* const bias = model.bias + row * model.bias_stride;
  const int64_t n = model.coupling.n_rows;
  for (int64_t site = 0; site < n; site += kLanes) {
    store<T>(field + site, load(bias + site, kLanes), kLanes);
  }
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] != T(0)) add_row(field, T(1), model.coupling.row(i), field, n);
  }
}

/// One sweep of one chain.
template <typename T>
void sweep(T* x, const bool* clamp, const Boltzmann<T>& model, T beta, T* field, int64_t row,
           Draw draw) {
  const int64_t n = model.coupling.n_rows;
  for (int64_t tile = 0; tile < n; tile += kTileSites) {
    const int64_t end = smaller(n, tile + kTileSites);
    // u < sigmoid(a) where logit(u) < a: no exponential in a loop in which every iteration waits
    // for the one before.
    T threshold[kTileSites];
    for_each_block(draw, row, tile, end,
                   [&](int64_t first, const Lanes<uint32_t>* words) TORCH_EBM_INLINE_LAMBDA {
                     for (int word = 0; word < 4; ++word) {
                       const int64_t site = first + word * kTileLanes;
                       if (site >= end) break;
                       Lanes<T> logit{};
                       logit_uniform(words[word], end - site, logit);
                       store<T>(threshold + site - tile, logit, kLanes);
                     }
                   });
    for (int64_t i = tile; i < end; ++i) {
      const T drawn = threshold[i - tile] < beta * field[i] ? T(1) : T(0);
      if (drawn == x[i] || (clamp && clamp[i])) continue;
      add_row(field, drawn - x[i], model.coupling.row(i), field, n);
      x[i] = drawn;
    }
  }
}

template <typename T>
bool boltzmann_gibbs(T* x, const bool* clamp, Boltzmann<T> model, T* scratch, Rows rows,
                     Steps steps, Draw draw) {
  bool valid = true;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const mine = x + row * rows.n_sites;
    compute_field(mine, model, row, scratch);
    for (draw.step = steps.begin; draw.step < steps.end; ++draw.step) {
      sweep(mine, clamp ? clamp + row * rows.n_sites : nullptr, model, model.beta[row], scratch,
            row, draw);
      valid &= all_finite(scratch, rows.n_sites);
    }
  }
  return valid;
}

/// A uniform number of a chain and a step.
TORCH_EBM_INLINE double uniform_number(Draw draw, int64_t row) {
  Lanes<uint32_t> words[4];
  threefry(draw, static_cast<uint32_t>(row), 0, words);
  return (words[0][0] + 0.5) * 0x1p-32;
}

template <typename T>
bool boltzmann_random_scan(T* x, const bool* clamp, Boltzmann<T> model, T* scratch, Rows rows,
                           Steps steps, Draw unit, Draw draw) {
  const int64_t n = rows.n_sites;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const mine = x + row * n;
    compute_field(mine, model, row, scratch);
    for (draw.step = steps.begin; draw.step < steps.end; ++draw.step) {
      unit.step = draw.step;
      const auto i = static_cast<int64_t>(uniform_number(unit, row) * static_cast<double>(n));
      const double logit = static_cast<double>(model.beta[row]) * scratch[i];
      if (logit - logit != 0) return false;  // not finite
      const bool is_one = uniform_number(draw, row) * (1 + __builtin_exp(logit)) >= 1;
      const T drawn = is_one ? T(1) : T(0);
      if (drawn == mine[i] || (clamp && clamp[row * n + i])) continue;
      add_row(scratch, drawn - mine[i], model.coupling.row(i), scratch, n);
      mine[i] = drawn;
    }
  }
  return true;
}

/// exp(d_i / 2 - max d / 2) for every unit i of a state, where d_i is what flipping it adds to log p.
template <typename T>
struct FieldFlipWeights {
  T* weight;
  double max;                // of d / 2
  double total;              // of the weights
  double share[kTileLanes];  // of the units i, i + 16, i + 32, ...: the same whatever the registers
};

/// half[i] = beta (1 - 2 x_i) / 2, so that d_i / 2 = half[i] * field[i]; both are padded with zeros. Returns
/// false if a product is not finite.
template <typename T>
bool weigh_field_flips(const T* half, const T* field, int64_t n, FieldFlipWeights<T>& flips) {
  constexpr int kParts = kTileLanes / kLanes;
  const auto half_d = [&](int64_t site) TORCH_EBM_INLINE_LAMBDA -> Lanes<T> {
    return load(half + site, kLanes) * load(field + site, kLanes);
  };
  Mask<T> bad{};
  const T max = largest<T>(n, [&](int64_t site) TORCH_EBM_INLINE_LAMBDA -> Lanes<T> {
    const Lanes<T> d = half_d(site);
    bad |= not_finite<T>(d);
    return d;
  });

  Lanes<T> share[kParts] = {};
  for (int64_t first = 0; first < n; first += kTileLanes) {
    for (int part = 0; part < kParts; ++part) {
      const int64_t site = first + part * kLanes;
      const Lanes<T> weight = first_lanes<T>(exp(half_d(site) - max), n - site, 0);
      store<T>(flips.weight + site, weight, kLanes);
      share[part] += weight;
    }
  }
  flips.max = max;
  flips.total = 0;
  for (int lane = 0; lane < kTileLanes; ++lane) {
    flips.share[lane] = share[lane / kLanes][lane % kLanes];
    flips.total += flips.share[lane];
  }
  return !any(bad);
}

/// Unit i with probability weight[i] / total, by u in (0, 1): first its share, then the unit.
template <typename T>
int64_t pick_flip(const FieldFlipWeights<T>& flips, int64_t n, double u) {
  double rest = u * flips.total;
  const int64_t share = walk(kTileLanes, rest, [&](int64_t lane) { return flips.share[lane]; });
  const int64_t n_units = (n - share + kTileLanes - 1) / kTileLanes;
  return share + kTileLanes * walk(n_units, rest,
                                   [&](int64_t i) { return flips.weight[share + i * kTileLanes]; });
}

/// The probability of accepting a flip: q(i | x) = exp(d_i / 2) / S(x), and the flip back adds -d_i to log p, so
/// that p(x') q(i | x') / (p(x) q(i | x)) = S(x) / S(x').
template <typename T>
double acceptance_of(const FieldFlipWeights<T>& now, const FieldFlipWeights<T>& after) {
  const double ratio = __builtin_exp(now.max - after.max) * now.total / after.total;
  return ratio < 1 ? ratio : 1;
}

template <typename T>
bool gibbs_with_gradients(T* x, double* acceptance, Boltzmann<T> model, T* scratch, Rows rows,
                          Steps steps, Draw draw) {
  const int64_t n = rows.n_sites;
  const int64_t stride = model.coupling.stride;
  T* const half = scratch;
  T* field = scratch + stride;
  T* field_after = scratch + 2 * stride;
  FieldFlipWeights<T> now{scratch + 3 * stride, 0, 0, {}};
  FieldFlipWeights<T> after{scratch + 4 * stride, 0, 0, {}};
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const mine = x + row * n;
    compute_field(mine, model, row, field);
    for (int64_t i = 0; i < n; ++i) half[i] = model.beta[row] * (T(0.5) - mine[i]);
    if (!weigh_field_flips(half, field, n, now)) return false;
    for (draw.step = steps.begin; draw.step < steps.end; ++draw.step) {
      Lanes<uint32_t> words[4];
      threefry(draw, static_cast<uint32_t>(row), 0, words);
      const int64_t i = pick_flip(now, n, uniform<double>(words[0])[0]);
      add_row(field, T(1) - 2 * mine[i], model.coupling.row(i), field_after, n);
      half[i] = -half[i];
      if (!weigh_field_flips(half, field_after, n, after)) return false;
      const double probability = acceptance_of(now, after);
      acceptance[row] += probability;
      if (uniform<double>(words[1])[0] < probability) {
        mine[i] = T(1) - mine[i];
        exchange(field, field_after);
        exchange(now, after);
      } else {
        half[i] = -half[i];
      }
    }
  }
  return true;
}

}  // namespace
}  // namespace torch_ebm::kernels
