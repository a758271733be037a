#pragma once
// The inner functions of the kernels, one table for every instruction set: kernels_probe.cpp is compiled as
// often as kernels.cpp, with the same flags.

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

}  // namespace torch_ebm::kernels
