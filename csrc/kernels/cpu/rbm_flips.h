#pragma once
// What a flip of a visible unit does to the free energy of an RBM. With a the inputs of the hidden units, flipping
// unit i of v changes softplus(a_j) by
//     log(sigmoid(-a_j) + sigmoid(a_j) exp(W_ij))        if v_i = 0, and
//     log(sigmoid(a_j) + sigmoid(-a_j) exp(W_ij)) - W_ij   if v_i = 1,
// so that the sum over j is the logarithm of a product: a multiplication and an addition per pair
// of units, and only one exponential or logarithm per flip.

#include "csrc/kernels/cpu/kernels.h"
#include "csrc/kernels/cpu/lanes.h"

namespace torch_ebm::kernels {
namespace {

/// x, positive and normal, becomes its mantissa in [1, 2); returns its exponent.
TORCH_EBM_INLINE Mask<float> take_exponent(Lanes<float>& x) {
  const auto bits = (Lanes<int32_t>)x;
  x = (Lanes<float>)((bits & 0x007fffff) | 0x3f800000);
  return (bits >> 23) - 127;
}

TORCH_EBM_INLINE Mask<double> take_exponent(Lanes<double>& x) {
  const auto bits = (Lanes<int64_t>)x;
  x = (Lanes<double>)((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  return (bits >> 52) - 1023;
}

/// The factor of a hidden unit is stays + changes * ratio.
template <typename T>
struct FlipFactor {
  const T* stays;
  const T* changes;
};

template <typename T>
TORCH_EBM_INLINE FlipFactor<T> factor_of(const HiddenLayer<T>& hidden, int64_t row, bool bit) {
  const T* const on = hidden.on.row(row);
  const T* const off = hidden.off.row(row);
  return bit ? FlipFactor<T>{on, off} : FlipFactor<T>{off, on};
}

template <typename T>
double log_product(FlipFactor<T> factor, const T* ratio, int64_t size, int64_t at_once) {
  Lanes<T> product = broadcast(T(1));
  Mask<T> exponent{};
  for (int64_t begin = 0; begin < size; begin += at_once * kLanes) {
    const int64_t end = smaller(size, begin + at_once * kLanes);
    for (int64_t j = begin; j < end; j += kLanes) {
      product *= load(factor.stays + j, kLanes) +
                 load(factor.changes + j, kLanes) * load(ratio + j, kLanes);
    }
    exponent += take_exponent(product);
  }
  double mantissa = 1;
  int64_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    mantissa *= product[lane];
    total += exponent[lane];
  }
  return __builtin_log(mantissa) + total * 0.69314718055994530942;
}

template <typename T>
void rbm_flip_sums(HiddenLayer<T> hidden, FlipPairs pairs, int64_t at_once, T* sums, int64_t begin,
                   int64_t end) {
  for (int64_t p = begin; p < end; ++p) {
    const FlipFactor<T> factor = factor_of(hidden, pairs.example[p], pairs.bit[p]);
    sums[p] = log_product(factor, hidden.ratio.row(pairs.site[p]), hidden.ratio.stride, at_once);
  }
}

/// 1 / f of four numbers by one division (Montgomery 1987).
template <typename T>
TORCH_EBM_INLINE void invert(Lanes<T> (&f)[4]) {
  const Lanes<T> low = f[0] * f[1];
  const Lanes<T> high = f[2] * f[3];
  const Lanes<T> inverse = T(1) / (low * high);
  const Lanes<T> of_low = inverse * high;
  const Lanes<T> of_high = inverse * low;
  const Lanes<T> first = of_low * f[1];
  const Lanes<T> third = of_high * f[3];
  f[1] = of_low * f[0];
  f[3] = of_high * f[2];
  f[0] = first;
  f[2] = third;
}

/// A register's width of the hidden units of all examples, side by side: rows a power of two apart
/// would fall on the same cache lines.
template <typename T>
struct HiddenColumn {
  HiddenColumn(const HiddenLayer<T>& hidden, int64_t column) {
    for (int64_t row = 0; row < hidden.on.n_rows; ++row) {
      on[row] = load(hidden.on.row(row) + column, kLanes);
      off[row] = load(hidden.off.row(row) + column, kLanes);
      gradient[row] = Lanes<T>{};
    }
  }
  Lanes<T> on[kFlipExamples];
  Lanes<T> off[kFlipExamples];
  Lanes<T> gradient[kFlipExamples];
};

/// The pairs [first, first + count) of one visible unit, of which the weight gradient is returned; count <= 4.
template <typename T>
TORCH_EBM_INLINE Lanes<T> backward_of_flips(HiddenColumn<T>& hidden, FlipPairs pairs,
                                            Lanes<T> ratio, const T* gradient, int64_t first,
                                            int64_t count) {
  Lanes<T> stays[4], inverse[4];
  for (int k = 0; k < 4; ++k) {
    const int64_t p = first + (k < count ? k : 0);
    const int64_t row = pairs.example[p];
    stays[k] = pairs.bit[p] ? hidden.on[row] : hidden.off[row];
    inverse[k] = stays[k] + (pairs.bit[p] ? hidden.off[row] : hidden.on[row]) * ratio;
  }
  invert<T>(inverse);
  Lanes<T> total{};
  for (int k = 0; k < count; ++k) {
    const int64_t p = first + k;
    const Lanes<T> part = gradient[p] * stays[k] * inverse[k];
    total -= part;
    hidden.gradient[pairs.example[p]] += pairs.bit[p] ? part : -part;
  }
  return total;
}

template <typename T>
void rbm_flip_sums_backward(HiddenLayer<T> layer, FlipPairs pairs, int64_t n_pairs,
                            const T* gradient, T* weight_gradient, T* input_gradient, int64_t begin,
                            int64_t end) {
  const int64_t stride = layer.ratio.stride;
  for (int64_t column = begin; column < smaller(end, stride); column += kLanes) {
    HiddenColumn<T> hidden(layer, column);
    for (int64_t p = 0; p < n_pairs;) {
      const int64_t site = pairs.site[p];
      const Lanes<T> ratio = load(layer.ratio.row(site) + column, kLanes);
      Lanes<T> total{};
      while (p < n_pairs && pairs.site[p] == site) {
        int64_t count = 1;
        while (count < 4 && p + count < n_pairs && pairs.site[p + count] == site) ++count;
        total += backward_of_flips(hidden, pairs, ratio, gradient, p, count);
        p += count;
      }
      T* const row = weight_gradient + site * stride + column;
      store(row, load(row, kLanes) + total, kLanes);
    }
    for (int64_t row = 0; row < layer.on.n_rows; ++row) {
      store(input_gradient + row * stride + column, hidden.gradient[row], kLanes);
    }
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
