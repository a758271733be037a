#include "csrc/passes/activation.h"

#include <ATen/Dispatch.h>

#include "csrc/common/softplus.h"
#include "csrc/passes/form.h"
#include "csrc/passes/parallel.h"

namespace torch_ebm::passes {

at::Tensor activate_(kernels::Activation f, at::Tensor& field, const at::Tensor& bias) {
  if (kernels_take(field)) {
    at::Tensor slope = at::empty_like(field);
    AT_DISPATCH_FLOATING_TYPES(field.scalar_type(), "activate_", [&] {
      scalar_t* const values = field.mutable_data_ptr<scalar_t>();
      scalar_t* const slopes = slope.mutable_data_ptr<scalar_t>();
      const scalar_t* const b = bias.const_data_ptr<scalar_t>();
      parallel_rows(field.size(0), field.size(1), [&](kernels::Rows rows) {
        kernels::kernels<scalar_t>().activate(f, values, b, slopes, rows);
      });
    });
    return slope;
  }
  const at::Tensor a = field + bias;
  if (f == kernels::Activation::kTanh) {
    field = at::tanh(a);
    return 1 - field.square();
  }
  const at::Tensor s = at::sigmoid(a);
  if (f == kernels::Activation::kSoftplus) {
    field = detail::exact_softplus(a);
    return s;
  }
  field = a * s;
  return s + field * (1 - s);
}

}  // namespace torch_ebm::passes
