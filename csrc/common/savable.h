#pragma once
// Autograd saves what a backward pass needs, but no tensor that was made in inference mode.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

namespace torch_ebm::detail {

/// x, or a copy if autograd could not save it.
inline at::Tensor savable(const at::Tensor& x) {
  return x.defined() && x.is_inference() && at::GradMode::is_enabled() ? x.clone() : x;
}
inline std::optional<at::Tensor> savable(const std::optional<at::Tensor>& x) {
  return x ? std::optional(savable(*x)) : std::nullopt;
}
template <typename Other>
const Other& savable(const Other& other) {
  return other;
}

template <auto* kFunction, typename Function = decltype(*kFunction)>
struct WithSavable;
template <auto* kFunction, typename Result, typename... Arguments>
struct WithSavable<kFunction, Result (&)(Arguments...)> {
  static Result call(Arguments... arguments) { return kFunction(savable(arguments)...); }
};

/// A composite of differentiable operators, or a criterion, that takes tensors made in inference mode too.
template <auto* kFunction>
constexpr auto with_savable = &WithSavable<kFunction>::call;

}  // namespace torch_ebm::detail
