#include "csrc/passes/bernoulli.h"

#include <ATen/Dispatch.h>

#include <atomic>

#include "csrc/common/per_chain.h"
#include "csrc/passes/form.h"
#include "csrc/passes/noise.h"
#include "csrc/passes/parallel.h"
#include "csrc/passes/pointers.h"

namespace torch_ebm::passes {

namespace {

void bernoulli_by_kernel(at::Tensor& field, const at::Tensor& bias, const at::Tensor& beta,
                         kernels::Draw draw, Flag& nan) {
  std::atomic<bool> valid{true};
  AT_DISPATCH_FLOATING_TYPES(field.scalar_type(), "sample_bernoulli_", [&] {
    scalar_t* const x = field.mutable_data_ptr<scalar_t>();
    const scalar_t* const b = bias.const_data_ptr<scalar_t>();
    const auto row_beta = per_row<scalar_t>(beta);
    parallel_rows(field.size(0), field.size(1), [&](kernels::Rows rows) {
      if (!kernels::kernels<scalar_t>().sample_bernoulli(x, b, row_beta, rows, draw)) valid = false;
    });
  });
  if (!valid) nan.raise();
}

void bernoulli_by_torch(at::Tensor& field, const at::Tensor& bias, const at::Tensor& beta,
                        kernels::Draw draw, Flag& nan) {
  const at::Tensor logit = detail::along_chains(beta, field) * (field + bias);
  nan.raise_if(logit.isnan().any());
  // u < 1 / (1 + e^-logit), as the kernel decides it.
  const at::Tensor odds = logit.neg().exp_().add_(1);
  field.copy_(uniform_like(field, draw).mul_(odds).lt(1));
}

}  // namespace

void sample_bernoulli_(at::Tensor& field, const at::Tensor& bias, const at::Tensor& beta,
                       kernels::Draw draw, Flag& nan) {
  (kernels_take(field) ? bernoulli_by_kernel : bernoulli_by_torch)(field, bias, beta, draw, nan);
}

void check_no_nan_logit(const char* op, bool nan) {
  TORCH_CHECK_VALUE(
      !nan, op, ": the input of a unit is NaN: the weights are so large that their sums overflow");
}

void sample_bernoulli_(const char* op, at::Tensor& field, const at::Tensor& bias,
                       const at::Tensor& beta, kernels::Draw draw) {
  Flag nan;
  sample_bernoulli_(field, bias, beta, draw, nan);
  check_no_nan_logit(op, nan.read());
}

}  // namespace torch_ebm::passes
