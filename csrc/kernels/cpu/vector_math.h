#pragma once
// Elementary functions of vectors. In float: polynomials, relative error below 3e-7, or absolute error below
// 2e-7 for sine and cosine (tested against libm in tests/cpp/kernels/kernels_test.cpp). In double: libm, lane by lane;
// double is the checking path.

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

/// exp(x), with x clamped to [-87, 88]; NaN counts as 88.
TORCH_EBM_INLINE Lanes<float> exp(Lanes<float> x) {
  Lanes<float> scale;
  const Lanes<float> m = reduced_expm1(clamp_exponent(x), scale);
  return scale * m + scale;
}

/// exp(x) - 1, with x clamped to [-87, 88].
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

/// log((word + 1/2) / 2^32), accurate relative to itself up to both ends.
TORCH_EBM_INLINE void log_uniform(Lanes<uint32_t> word, Lanes<float>& result) {
  // word + 1/2 = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
  constexpr int32_t kSqrtHalf = 0x3f3504f3;
  const auto bits = (Lanes<int32_t>)(__builtin_convertvector(word, Lanes<float>) + 0.5f);
  const Lanes<int32_t> e = (bits - kSqrtHalf) >> 23;
  // For e = 32, f is minus the distance of the uniform number from 1, which the words count exactly.
  const Lanes<float> f_at_one =
      (__builtin_convertvector(~word, Lanes<float>) + 0.5f) * (-1.f / 4294967296.f);
  const Lanes<float> f = e == 32 ? f_at_one : (Lanes<float>)(bits - (e << 23)) - 1.f;
  // log(1 + f) = 2 artanh(s) with |s| < 0.172; the first term left out is s^10 / 11 < 3e-9.
  const Lanes<float> s = f / (f + 2.f);
  const Lanes<float> square = s * s;
  Lanes<float> p = square * (2.f / 9) + 2.f / 7;
  p = p * square + 2.f / 5;
  p = p * square + 2.f / 3;
  p = (p * square + 2.f) * s;
  result = __builtin_convertvector(e - 32, Lanes<float>) * 0.693147180559945309f + p;
}

/// The sine and the cosine of 2 pi (word + 1/2) / 2^32.
TORCH_EBM_INLINE void sin_cos(Lanes<uint32_t> word, Lanes<float>& sin, Lanes<float>& cos) {
  // The word is the angle in units of 2^-32 turns, so that the nearest quarter turn and what remains of the
  // angle, in [-pi/4, pi/4), are exact. Taylor's series: the first terms left out are 2e-9 and 3e-8.
  const Lanes<uint32_t> quarter = (word + (1u << 29)) >> 30;
  const auto rest = (Lanes<int32_t>)(word - (quarter << 30));
  const Lanes<float> a =
      (__builtin_convertvector(rest, Lanes<float>) + 0.5f) * 1.4629180792671596e-9f;
  const Lanes<float> square = a * a;
  Lanes<float> p = square * (1.f / 362880) - 1.f / 5040;
  p = p * square + 1.f / 120;
  p = p * square - 1.f / 6;
  const Lanes<float> s = p * square * a + a;
  p = square * (1.f / 40320) - 1.f / 720;
  p = p * square + 1.f / 24;
  p = p * square - 0.5f;
  const Lanes<float> c = p * square + 1.f;
  const auto swapped = (Lanes<int32_t>)(quarter << 31) < 0;
  sin = (Lanes<float>)((Lanes<uint32_t>)(swapped ? c : s) ^ (quarter >> 1 << 31));
  cos = (Lanes<float>)((Lanes<uint32_t>)(swapped ? s : c) ^ ((quarter + 1) >> 1 << 31));
}

TORCH_EBM_INLINE void log_uniform(Lanes<uint32_t> word, Lanes<double>& result) {
  for (int lane = 0; lane < kLanes; ++lane) {
    result[lane] = word[lane] < 0x80000000u ? __builtin_log((word[lane] + 0.5) * 0x1p-32)
                                            : __builtin_log1p((~word[lane] + 0.5) * -0x1p-32);
  }
}

TORCH_EBM_INLINE void sin_cos(Lanes<uint32_t> word, Lanes<double>& sin, Lanes<double>& cos) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const double angle = (word[lane] + 0.5) * 1.4629180792671596e-9;
    sin[lane] = __builtin_sin(angle);
    cos[lane] = __builtin_cos(angle);
  }
}

TORCH_EBM_INLINE Lanes<float> sqrt(Lanes<float> x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
}

/// log(u / (1 - u)) for u = (word + 1/2) / 2^32, absolute error below 1e-6 in float; of the first `count` lanes.
TORCH_EBM_INLINE void logit_uniform(Lanes<uint32_t> word, int64_t, Lanes<float>& result) {
  Lanes<float> log_u, log_rest;
  log_uniform(word, log_u);
  log_uniform(~word, log_rest);
  result = log_u - log_rest;
}

TORCH_EBM_INLINE void logit_uniform(Lanes<uint32_t> word, int64_t count, Lanes<double>& result) {
  for (int64_t lane = 0; lane < smaller(count, kLanes); ++lane) {
    result[lane] = __builtin_log((word[lane] + 0.5) / (~word[lane] + 0.5));
  }
}

#define TORCH_EBM_LANEWISE(name, libm)                                 \
  TORCH_EBM_INLINE Lanes<double> name(Lanes<double> x) {               \
    for (int lane = 0; lane < kLanes; ++lane) x[lane] = libm(x[lane]); \
    return x;                                                          \
  }
TORCH_EBM_LANEWISE(exp, __builtin_exp)
TORCH_EBM_LANEWISE(expm1, __builtin_expm1)
TORCH_EBM_LANEWISE(log1p_negative_half, __builtin_log1p)
TORCH_EBM_LANEWISE(sqrt, __builtin_sqrt)
#undef TORCH_EBM_LANEWISE

}  // namespace
}  // namespace torch_ebm::kernels
