#include "csrc/common/random.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

namespace torch_ebm::detail {

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

}  // namespace torch_ebm::detail
