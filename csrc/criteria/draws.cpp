#include "csrc/criteria/draws.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/passes/noise.h"

namespace torch_ebm::detail {

namespace {

at::Tensor draw_key_kernel(const at::Tensor& like, std::optional<at::Generator> generator) {
  const uint64_t key = draw_key(generator, like.device());
  return at::full({}, static_cast<int64_t>(key), like.options().dtype(at::kLong));
}

kernels::Draw checked_draw(const char* op, const at::Tensor& like, const at::Tensor& key,
                           int64_t step, int64_t stream) {
  check_floating(op, "like", like);
  TORCH_CHECK_VALUE(like.dim() >= 1, op, ": like must have shape (N, ...), got ()");
  TORCH_CHECK_TYPE(key.defined() && key.scalar_type() == at::kLong, op,
                   ": key must have dtype Long");
  check_shape(op, "key", key, {}, "()");
  return {static_cast<uint64_t>(key.item<int64_t>()), static_cast<uint32_t>(step),
          static_cast<uint32_t>(stream)};
}

at::Tensor uniform_numbers_kernel(const at::Tensor& like, const at::Tensor& key, int64_t step,
                                  int64_t stream) {
  return passes::uniform_like(like, checked_draw("_uniform_numbers", like, key, step, stream));
}

at::Tensor normal_numbers_kernel(const at::Tensor& like, const at::Tensor& key, int64_t step,
                                 int64_t stream) {
  return passes::normal_like(like, checked_draw("_normal_numbers", like, key, step, stream));
}

at::Tensor draw_key_meta(const at::Tensor& like, std::optional<at::Generator>) {
  return at::empty({}, like.options().dtype(at::kLong));
}

at::Tensor numbers_meta(const at::Tensor& like, const at::Tensor&, int64_t, int64_t) {
  return at::empty_symint(like.sym_sizes(), like.options());
}

}  // namespace

Draws::Draws(const std::optional<at::Generator>& generator, const at::Tensor& x) {
  static const auto op = find_operator<decltype(draw_key_kernel)>("torch_ebm::_draw_key");
  key_ = op.call(x, generator);
}

at::Tensor Draws::uniform(const at::Tensor& x, Stream stream, int64_t step) const {
  static const auto op =
      find_operator<decltype(uniform_numbers_kernel)>("torch_ebm::_uniform_numbers");
  return op.call(x, key_, step, stream);
}

at::Tensor Draws::normal(const at::Tensor& x, Stream stream, int64_t step) const {
  static const auto op =
      find_operator<decltype(normal_numbers_kernel)>("torch_ebm::_normal_numbers");
  return op.call(x, key_, step, stream);
}

// Random numbers have no gradient.
TORCH_EBM_NO_GRADIENT("_draw_key", &draw_key_kernel, &draw_key_meta)
TORCH_EBM_NO_GRADIENT("_uniform_numbers", &uniform_numbers_kernel, &numbers_meta)
TORCH_EBM_NO_GRADIENT("_normal_numbers", &normal_numbers_kernel, &numbers_meta)

}  // namespace torch_ebm::detail
