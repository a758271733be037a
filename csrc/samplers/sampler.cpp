#include "torch_ebm/samplers/sampler.h"

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"

namespace torch_ebm {

StepSize StepSize::from_ivalue(const char* op, const c10::IValue& value) {
  if (value.isDouble() || value.isInt()) return StepSize(value.toScalar().toDouble());
  if (value.isDoubleList()) return StepSize(value.toDoubleVector());
  TORCH_CHECK_TYPE(value.isTensor(), op,
                   ": step_size must be a number, a list of numbers or a tensor, got ",
                   value.tagKind());
  return StepSize(value.toTensor());
}

void StepSize::check(const char* op, int64_t n_chains, int64_t n_steps) const {
  const auto right = [](double step_size) { return step_size > 0 && std::isfinite(step_size); };
  if (per_chain_.defined()) {
    detail::check_not_meta(op, "step_size", per_chain_);
    TORCH_CHECK_TYPE(!per_chain_.is_complex(), op, ": step_size must be real, got ",
                     per_chain_.scalar_type());
    TORCH_CHECK_VALUE(
        per_chain_.dim() == 0 || (per_chain_.dim() == 1 && per_chain_.size(0) == n_chains), op,
        ": step_size must be one number or one for every chain, shape () or (", n_chains,
        ",), got ", detail::describe_shape(per_chain_.sizes()));
    const at::Tensor values = at(0).reshape({-1});
    for (int64_t chain = 0; chain < values.size(0); ++chain) {
      const double step_size = values[chain].item<double>();
      TORCH_CHECK_VALUE(right(step_size), op, ": step_size must be > 0 and finite, got ", step_size,
                        " for chain ", chain);
    }
    return;
  }
  const auto n_given = static_cast<int64_t>(schedule_.size());
  TORCH_CHECK_VALUE(n_given == 1 || n_given == n_steps, op,
                    ": step_size must be one number or one for every step, ", n_steps, ", got ",
                    n_given);
  for (double step_size : schedule_) {
    TORCH_CHECK_VALUE(right(step_size), op, ": step_size must be > 0 and finite, got ", step_size);
  }
}

at::Tensor StepSize::at(int64_t step) const {
  if (per_chain_.defined()) return per_chain_.detach().to(at::kCPU, at::kDouble);
  const double value = schedule_[schedule_.size() == 1 ? 0 : static_cast<size_t>(step)];
  return at::full({}, value, at::TensorOptions().dtype(at::kDouble));
}

}  // namespace torch_ebm
