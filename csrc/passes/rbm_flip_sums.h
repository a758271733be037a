#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

namespace torch_ebm::passes {

inline constexpr const char* kRbmFlipDifferences = "rbm_flip_differences";  // named in messages

using MaybeTensor = std::optional<at::Tensor>;
using TwoTensors = std::tuple<at::Tensor, at::Tensor>;

/// sum_j [softplus(a_j + d_i W_ij) - softplus(a_j)], d_i = 1 - 2 v_i, of visible v (N, V), inputs of the hidden units
/// a (N, H) and weights W (V, H): for all visible units, (N, V), or for the units `sites`, (N, m), of each. By the
/// kernels of csrc/kernels/cpu/rbm_flips.h, or, on other devices and for weights beyond 20, by torch's operations, some
/// units at a time. No graph.
at::Tensor rbm_flip_sums(const at::Tensor& visible, const at::Tensor& input,
                         const at::Tensor& weight, const MaybeTensor& sites);

/// Its derivatives in a and W, times `gradient`, in the shape of the sums.
TwoTensors rbm_flip_sums_backward(const at::Tensor& gradient, const at::Tensor& visible,
                                  const at::Tensor& input, const at::Tensor& weight,
                                  const MaybeTensor& sites);

/// The same sums through a tensor of (N, m, H), with a graph that can be differentiated any number of times.
at::Tensor rbm_flip_sums_with_graph(const at::Tensor& visible, const at::Tensor& input,
                                    const at::Tensor& weight, const MaybeTensor& sites);

}  // namespace torch_ebm::passes
