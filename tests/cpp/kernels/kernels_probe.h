#pragma once
// The inner functions of the kernels, one table for every instruction set: kernels_probe.cpp is compiled as
// often as kernels.cpp, with the same flags.

#include <type_traits>
#include <vector>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::kernels {

struct Probe {
  const char* name;
  int lanes;
  bool (*runs_here)();
  const Table<float>* float_table;
  const Table<double>* double_table;
  /// The words of the sites 0, ..., n - 1 of one row.
  void (*words)(Draw draw, uint32_t chain, int64_t n, uint32_t* out);
  /// out[i] = function(x[i])
  void (*exp)(const float* x, int64_t n, float* out);
  void (*expm1)(const float* x, int64_t n, float* out);
  void (*log1p_negative_half)(const float* x, int64_t n, float* out);
  /// The same for functions of words.
  void (*log_uniform)(const uint32_t* words, int64_t n, float* out);
  void (*sin)(const uint32_t* words, int64_t n, float* out);
  void (*cos)(const uint32_t* words, int64_t n, float* out);
};

namespace baseline {
extern const Table<float> float_table;
extern const Table<double> double_table;
extern const Probe probe;
}  // namespace baseline
#ifdef TORCH_EBM_X86
namespace avx2 {
extern const Table<float> float_table;
extern const Table<double> double_table;
extern const Probe probe;
}  // namespace avx2
namespace avx512 {
extern const Table<float> float_table;
extern const Table<double> double_table;
extern const Probe probe;
}  // namespace avx512
#endif

/// The instruction sets that this processor runs.
inline std::vector<const Probe*> instruction_sets() {
  std::vector<const Probe*> sets = {&baseline::probe};
#ifdef TORCH_EBM_X86
  if (avx2::probe.runs_here()) sets.push_back(&avx2::probe);
  if (avx512::probe.runs_here()) sets.push_back(&avx512::probe);
#endif
  return sets;
}

/// A probe's table for T.
template <typename T>
const Table<T>& table_of(const Probe& probe) {
  if constexpr (std::is_same_v<T, float>) {
    return *probe.float_table;
  } else {
    return *probe.double_table;
  }
}

}  // namespace torch_ebm::kernels
