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

}  // namespace
}  // namespace torch_ebm::kernels
