#pragma once
// The activations of a multilayer perceptron, each with its slope: the derivative costs next to nothing where
// the exponential is at hand.

#include "csrc/kernels/cpu/kernels.h"
#include "csrc/kernels/cpu/lanes.h"
#include "csrc/kernels/cpu/vector_math.h"

namespace torch_ebm::kernels {
namespace {

template <typename T>
struct ValueAndSlope {
  Lanes<T> value;
  Lanes<T> slope;
};

template <typename T>
TORCH_EBM_INLINE Lanes<T> magnitude(Lanes<T> x) {
  return x < T(0) ? -x : x;
}

/// x s with s = sigmoid(x) (Elfwing, Uchibe & Doya 2018, equations 2 and 4).
template <typename T>
TORCH_EBM_INLINE ValueAndSlope<T> silu(Lanes<T> x) {
  const Lanes<T> s = T(1) / (exp(-x) + T(1));
  const Lanes<T> y = x * s;
  return {y, s + y * (T(1) - s)};
}

/// log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x|; and log(1 + u) = -log(1 - u / (1 + u)).
template <typename T>
TORCH_EBM_INLINE ValueAndSlope<T> softplus(Lanes<T> x) {
  const Lanes<T> u = exp(-magnitude<T>(x));
  const Lanes<T> above = T(1) / (u + T(1));  // sigmoid(|x|)
  const Lanes<T> below = u * above;          // sigmoid(-|x|)
  const Lanes<T> ramp = x > T(0) ? x : broadcast(T(0));
  return {ramp - log1p_negative_half(-below), x > T(0) ? above : below};
}

/// tanh |x| = -m / (m + 2) with m = e^(-2|x|) - 1.
template <typename T>
TORCH_EBM_INLINE ValueAndSlope<T> tanh(Lanes<T> x) {
  const Lanes<T> m = expm1(T(-2) * magnitude<T>(x));
  const Lanes<T> y = m / (m + T(2));
  return {x < T(0) ? y : -y, T(1) - y * y};
}

/// `function` must be known when this is compiled: the loop then holds no call.
template <typename T, typename Function>
TORCH_EBM_INLINE void activate_by(Function function, T* field, const T* bias, T* slope, Rows rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    T* const value_row = field + row * rows.n_sites;
    T* const slope_row = slope + row * rows.n_sites;
    for (int64_t site = 0; site < rows.n_sites; site += kLanes) {
      const int64_t count = rows.n_sites - site;
      const Lanes<T> a = load(value_row + site, count) + load(bias + site, count);
      const ValueAndSlope<T> result = function(a);
      const Mask<T> number = a == a;
      store(value_row + site, number ? result.value : a, count);
      store(slope_row + site, number ? result.slope : a, count);
    }
  }
}

template <typename T>
void activate(Activation f, T* field, const T* bias, T* slope, Rows rows) {
  const auto by = [&](auto function)
                      TORCH_EBM_INLINE_LAMBDA { activate_by(function, field, bias, slope, rows); };
  switch (f) {
    case Activation::kSilu:
      return by([](Lanes<T> x) TORCH_EBM_INLINE_LAMBDA { return silu<T>(x); });
    case Activation::kSoftplus:
      return by([](Lanes<T> x) TORCH_EBM_INLINE_LAMBDA { return softplus<T>(x); });
    case Activation::kTanh:
      return by([](Lanes<T> x) TORCH_EBM_INLINE_LAMBDA { return tanh<T>(x); });
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
