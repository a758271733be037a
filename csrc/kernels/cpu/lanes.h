#pragma once
// Fixed-width SIMD on the compilers' vector extension: plain operators, one register per value, no
// intrinsics. The width follows the instruction set that the including file is compiled for.

#include <cstdint>
#include <cstring>

#define TORCH_EBM_INLINE inline __attribute__((always_inline))
#define TORCH_EBM_INLINE_LAMBDA __attribute__((always_inline))

namespace torch_ebm::kernels {
namespace {  // one copy per instruction set: these must never be merged across object files

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <typename T>
struct LanesOf;
#define TORCH_EBM_LANES(T)                                           \
  template <>                                                        \
  struct LanesOf<T> {                                                \
    typedef T type __attribute__((vector_size(kLanes * sizeof(T)))); \
  };
TORCH_EBM_LANES(uint32_t)
TORCH_EBM_LANES(int32_t)
TORCH_EBM_LANES(int64_t)
TORCH_EBM_LANES(float)
TORCH_EBM_LANES(double)
#undef TORCH_EBM_LANES

template <typename T>
using Lanes = typename LanesOf<T>::type;

/// The integer type whose vectors are the comparison masks of T's vectors.
template <typename T>
struct MaskOf;
template <>
struct MaskOf<float> {
  using type = int32_t;
};
template <>
struct MaskOf<double> {
  using type = int64_t;
};
template <typename T>
using Mask = Lanes<typename MaskOf<T>::type>;

template <typename T>
TORCH_EBM_INLINE Lanes<T> broadcast(T value) {
  return Lanes<T>{} + value;
}

/// The first `count` values at `from`; the other lanes are zero.
template <typename T>
TORCH_EBM_INLINE Lanes<T> load(const T* from, int64_t count) {
  Lanes<T> lanes{};
  if (count >= kLanes) {
    std::memcpy(&lanes, from, sizeof(lanes));
  } else {
    for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  }
  return lanes;
}

template <typename T>
TORCH_EBM_INLINE void store(T* to, Lanes<T> lanes, int64_t count) {
  if (count >= kLanes) {
    std::memcpy(to, &lanes, sizeof(lanes));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
  }
}

template <typename T>
TORCH_EBM_INLINE double sum(Lanes<T> lanes) {
  double total = 0;
  for (int i = 0; i < kLanes; ++i) total += lanes[i];
  return total;
}

template <typename M>
TORCH_EBM_INLINE bool any(M mask) {
  bool result = false;
  for (int i = 0; i < kLanes; ++i) result |= mask[i] != 0;
  return result;
}

/// The first `count` lanes of x; the others are `rest`.
template <typename T>
TORCH_EBM_INLINE Lanes<T> first_lanes(Lanes<T> x, int64_t count, T rest) {
  if (count >= kLanes) return x;
  Mask<T> index;
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  return index < static_cast<typename MaskOf<T>::type>(count) ? x : broadcast(rest);
}

/// Calls body(i, count) for every register-wide group of n values: whole registers, then what is left.
template <typename Body>
TORCH_EBM_INLINE void for_each_register(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

/// x clamped to [low, high]; NaN stays NaN.
template <typename T>
TORCH_EBM_INLINE Lanes<T> clamp(Lanes<T> x, T low, T high) {
  x = x > high ? broadcast(high) : x;
  return x < low ? broadcast(low) : x;
}

template <typename T>
TORCH_EBM_INLINE Mask<T> not_finite(Lanes<T> x) {
  return (x - x) != T(0);  // inf - inf and NaN are NaN
}

template <typename T>
bool all_finite(const T* x, int64_t n) {
  Mask<T> bad{};
  for (int64_t i = 0; i < n; i += kLanes) bad |= not_finite<T>(load(x + i, n - i));
  return !any(bad);
}

// Not std's: a template of the standard library that is not inlined would be merged with that of another
// instruction set.
TORCH_EBM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename Value>
TORCH_EBM_INLINE void exchange(Value& a, Value& b) {
  const Value old_a = a;
  a = b;
  b = old_a;
}

}  // namespace
}  // namespace torch_ebm::kernels
