#pragma once
// exp, expm1 and log1p for vectors. In float: polynomials, relative error below 3e-7 (tested against
// libm in tests/cpp/kernels_test.cpp). In double: libm, lane by lane; double is the checking path.

#include "csrc/kernels/cpu/lanes.h"

namespace torch_ebm::kernels {
namespace {

/// x = n log 2 + r with |r| <= log(2) / 2; returns expm1(r) and sets scale = 2^n. x in [-87, 88].
TORCH_EBM_INLINE Lanes<float> reduced_expm1(Lanes<float> x, Lanes<float>& scale) {
  constexpr float kRound =
      12582912.f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Lanes<float> shifted = x * 1.44269504088896341f + kRound;
  const Lanes<float> n = shifted - kRound;
  // log 2 in two parts (Cody & Waite), the first with few enough bits that n times it is exact.
  const Lanes<float> r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  scale = (Lanes<float>)(((Lanes<int32_t>)shifted << 23) + 0x3f800000);
  // Taylor's coefficients adjusted to the interval (Cephes, expf).
  Lanes<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r;
}

TORCH_EBM_INLINE Lanes<float> clamp_exponent(Lanes<float> x) {
  x = x < 88.f ? x : broadcast(88.f);  // first: NaN counts as 88
  return x > -87.f ? x : broadcast(-87.f);
}

/// exp(x), with x cut to [-87, 88]; NaN counts as 88.
TORCH_EBM_INLINE Lanes<float> exp(Lanes<float> x) {
  Lanes<float> scale;
  const Lanes<float> m = reduced_expm1(clamp_exponent(x), scale);
  return scale * m + scale;
}

/// exp(x) - 1, with x cut to [-87, 88].
TORCH_EBM_INLINE Lanes<float> expm1(Lanes<float> x) {
  Lanes<float> scale;
  const Lanes<float> m = reduced_expm1(clamp_exponent(x), scale);
  return scale * m + (scale - 1.f);
}

/// log(1 + x) for x in [-1/2, 0]: 2 artanh(t), t = x / (2 + x) in [-1/3, 0], by its odd series.
TORCH_EBM_INLINE Lanes<float> log1p_negative_half(Lanes<float> x) {
  const Lanes<float> t = x / (x + 2.f);
  const Lanes<float> s = t * t;
  Lanes<float> p = s * (2.f / 15) + 2.f / 13;
  p = p * s + 2.f / 11;
  p = p * s + 2.f / 9;
  p = p * s + 2.f / 7;
  p = p * s + 2.f / 5;
  p = p * s + 2.f / 3;
  return (p * s + 2.f) * t;
}

#define TORCH_EBM_LANEWISE(name, libm)                                 \
  TORCH_EBM_INLINE Lanes<double> name(Lanes<double> x) {               \
    for (int lane = 0; lane < kLanes; ++lane) x[lane] = libm(x[lane]); \
    return x;                                                          \
  }
TORCH_EBM_LANEWISE(exp, __builtin_exp)
TORCH_EBM_LANEWISE(expm1, __builtin_expm1)
TORCH_EBM_LANEWISE(log1p_negative_half, __builtin_log1p)
#undef TORCH_EBM_LANEWISE

}  // namespace
}  // namespace torch_ebm::kernels
