#include "tests/cpp/kernels/kernels_probe.h"

#include "csrc/kernels/cpu/lanes.h"
#include "csrc/kernels/cpu/threefry.h"
#include "csrc/kernels/cpu/vector_math.h"

#define TORCH_EBM_STRING(x) #x
#define TORCH_EBM_NAME(x) TORCH_EBM_STRING(x)

namespace torch_ebm::kernels {
namespace {

void words(Draw draw, uint32_t chain, int64_t n, uint32_t* out) {
  for_each_site(draw, chain, n, [&](int64_t site, int64_t count, Lanes<uint32_t> lanes) {
    store(out + site, lanes, count);
  });
}

#define TORCH_EBM_PROBE(function)                                 \
  void probe_##function(const float* x, int64_t n, float* out) {  \
    for (int64_t i = 0; i < n; i += kLanes) {                     \
      store<float>(out + i, function(load(x + i, n - i)), n - i); \
    }                                                             \
  }
TORCH_EBM_PROBE(exp)
TORCH_EBM_PROBE(expm1)
TORCH_EBM_PROBE(log1p_negative_half)
#undef TORCH_EBM_PROBE

template <typename Function>
void for_each_word(const uint32_t* words, int64_t n, float* out, Function function) {
  for (int64_t i = 0; i < n; i += kLanes) {
    store<float>(out + i, function(load(words + i, n - i)), n - i);
  }
}

void probe_log_uniform(const uint32_t* words, int64_t n, float* out) {
  for_each_word(words, n, out, [](Lanes<uint32_t> word) {
    Lanes<float> result;
    log_uniform(word, result);
    return result;
  });
}

template <bool kSine>
void probe_sin_cos(const uint32_t* words, int64_t n, float* out) {
  for_each_word(words, n, out, [](Lanes<uint32_t> word) {
    Lanes<float> sin, cos;
    sin_cos(word, sin, cos);
    return kSine ? sin : cos;
  });
}

bool runs_here() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2");
#else
  return true;
#endif
}

}  // namespace

namespace TORCH_EBM_ISA {
extern const Probe probe{TORCH_EBM_NAME(TORCH_EBM_ISA),
                         kLanes,
                         &runs_here,
                         &float_table,
                         &double_table,
                         &words,
                         &probe_exp,
                         &probe_expm1,
                         &probe_log1p_negative_half,
                         &probe_log_uniform,
                         &probe_sin_cos<true>,
                         &probe_sin_cos<false>};
}  // namespace TORCH_EBM_ISA

}  // namespace torch_ebm::kernels
