#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::kernels {

#define TORCH_EBM_DECLARE(isa)             \
  namespace isa {                          \
  extern const Table<float> float_table;   \
  extern const Table<double> double_table; \
  }
TORCH_EBM_DECLARE(baseline)
#ifdef TORCH_EBM_X86
TORCH_EBM_DECLARE(avx2)
TORCH_EBM_DECLARE(avx512)
#endif
#undef TORCH_EBM_DECLARE

namespace {

struct Choice {
  const char* name;
  const Table<float>* float_table;
  const Table<double>* double_table;
};

#ifdef TORCH_EBM_X86
// All features of the x86-64 microarchitecture levels that kernels.cpp is compiled for: a virtual machine may hide any
// of them, and the compiler may use any.
bool has_level_3() {
  return __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("lzcnt") && __builtin_cpu_supports("movbe") &&
         __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("sse4.2");
}

bool has_level_4() {
  return has_level_3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

Choice choose() {
#ifdef TORCH_EBM_X86
  if (has_level_4()) return {"avx512", &avx512::float_table, &avx512::double_table};
  if (has_level_3()) return {"avx2", &avx2::float_table, &avx2::double_table};
#endif
  return {"baseline", &baseline::float_table, &baseline::double_table};
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

template <>
const Table<float>& kernels<float>() {
  return *choice().float_table;
}
template <>
const Table<double>& kernels<double>() {
  return *choice().double_table;
}

const char* instruction_set() { return choice().name; }

}  // namespace torch_ebm::kernels
