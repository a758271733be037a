#include "csrc/passes/softplus_difference.h"

#include <ATen/Dispatch.h>

#include "csrc/passes/form.h"
#include "csrc/passes/parallel.h"

namespace torch_ebm::passes {

void add_softplus_difference_(at::Tensor& log_weights, const at::Tensor& field,
                              const at::Tensor& bias, double beta_previous, double beta) {
  if (!kernels_take(field)) {
    // As the kernel: see csrc/kernels/cpu/kernels.cpp.
    const at::Tensor a = (field + bias).to(at::kDouble);
    const at::Tensor size = a.abs();
    const double difference = beta - beta_previous;
    const at::Tensor correction =
        (size * -difference).expm1_().mul_((size * -beta_previous).sigmoid_()).log1p_();
    log_weights.add_((a.relu() * difference + correction).sum(1));
    return;
  }
  AT_DISPATCH_FLOATING_TYPES(field.scalar_type(), "add_softplus_difference_", [&] {
    const scalar_t* const x = field.const_data_ptr<scalar_t>();
    const scalar_t* const b = bias.const_data_ptr<scalar_t>();
    double* const out = log_weights.mutable_data_ptr<double>();
    parallel_rows(field.size(0), field.size(1), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().add_softplus_difference(
          x, b, static_cast<scalar_t>(beta_previous), static_cast<scalar_t>(beta), out, rows);
    });
  });
}

}  // namespace torch_ebm::passes
