#pragma once
// A pass has two forms, the CPU kernel and torch's operations, which are right on any device. Which one it takes is
// decided here, from the tensor alone. A CUDA kernel would be the third.

#include <ATen/ATen.h>

namespace torch_ebm::passes {

/// Whether code of our own may read and write the memory of x: it is on the CPU, and no torch form is forced.
bool is_in_reach(const at::Tensor& x);

/// Whether the CPU kernels take x: in reach, and float or double. The passes compute half precision in float.
bool kernels_take(const at::Tensor& x);

/// Forces torch's form of every pass in this thread, on the CPU too, so that tests can compare the two.
class TorchForms {
 public:
  explicit TorchForms(bool forced);
  ~TorchForms();
  TorchForms(const TorchForms&) = delete;

 private:
  bool before_;
};

}  // namespace torch_ebm::passes
