#include "csrc/common/random.h"

#include <ATen/CPUGeneratorImpl.h>

#include <atomic>

#include "csrc/common/parallel.h"

namespace torch_ebm::detail {

namespace {

template <typename Fill>
at::Tensor filled_like(const at::Tensor& x, Fill fill) {
  const auto dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor out = at::empty(x.sizes(), at::TensorOptions().dtype(dtype));
  const int64_t n_sites = x.numel() / std::max<int64_t>(1, x.size(0));
  AT_DISPATCH_FLOATING_TYPES(dtype, "filled_like", [&] {
    scalar_t* data = out.mutable_data_ptr<scalar_t>();
    parallel_rows(x.size(0), n_sites,
                  [&](kernels::Rows rows) { fill(kernels::kernels<scalar_t>(), data, rows); });
  });
  return out.to(x.options());
}

}  // namespace

bool has_kernel(const at::Tensor& x) {
  return x.is_cpu() && x.has_storage() &&  // none of its own under vmap
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

uint64_t draw_key(const std::optional<at::Generator>& generator, at::Device device) {
  if (generator && generator->defined() && generator->device().type() != at::kCPU) {
    const auto options = at::TensorOptions().dtype(at::kLong).device(generator->device());
    return static_cast<uint64_t>(at::empty({1}, options).random_(*generator).item<int64_t>());
  }
  if ((!generator || !generator->defined()) && device.type() != at::kCPU) {
    const auto options = at::TensorOptions().dtype(at::kLong).device(device);
    return static_cast<uint64_t>(at::empty({1}, options).random_().item<int64_t>());
  }
  auto* cpu = at::get_generator_or_default<at::CPUGeneratorImpl>(
      generator, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(cpu->mutex_);
  return cpu->random64();
}

at::Tensor at_least_float(const at::Tensor& x) {
  return x.to(at::promote_types(x.scalar_type(), at::kFloat)).contiguous();
}

void check_no_nan_logit(const char* op, bool valid) {
  TORCH_CHECK_VALUE(
      valid, op, ": the input of a unit is NaN: the weights are so large that their sums overflow");
}

void sample_bernoulli_(const char* op, at::Tensor& field, const at::Tensor& bias,
                       const at::Tensor& beta, kernels::Draw draw) {
  bool valid = true;
  if (has_kernel(field)) {
    AT_DISPATCH_FLOATING_TYPES(field.scalar_type(), "sample_bernoulli_", [&] {
      scalar_t* x = field.mutable_data_ptr<scalar_t>();
      const scalar_t* b = bias.const_data_ptr<scalar_t>();
      const kernels::PerRow<scalar_t> row_beta{beta.const_data_ptr<scalar_t>(), beta.dim()};
      std::atomic<bool> all_valid{true};
      parallel_rows(field.size(0), field.size(1), [&](kernels::Rows rows) {
        if (!kernels::kernels<scalar_t>().sample_bernoulli(x, b, row_beta, rows, draw)) {
          all_valid = false;
        }
      });
      valid = all_valid;
    });
  } else {
    const at::Tensor logit = (beta.dim() ? beta.unsqueeze(1) : beta) * (field + bias);
    valid = !at::isnan(logit).any().item<bool>();
    field.copy_(uniform_like(field, draw).lt(at::sigmoid(logit)));
  }
  check_no_nan_logit(op, valid);
}

at::Tensor uniform_like(const at::Tensor& x, kernels::Draw draw) {
  return filled_like(x, [draw](const auto& table, auto* out, kernels::Rows rows) {
    table.fill_uniform(out, rows, draw);
  });
}

at::Tensor normal_like(const at::Tensor& x, kernels::Draw draw) {
  return filled_like(x, [draw](const auto& table, auto* out, kernels::Rows rows) {
    table.fill_normal(out, rows, draw);
  });
}

}  // namespace torch_ebm::detail
