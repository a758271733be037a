#pragma once

#include <ATen/ATen.h>

#include "csrc/common/grad_mode.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm::detail {

/// The result of `compute(differentiable)`, computed with gradients on, whatever mode its caller is
/// in. A caller with gradients off gets only the value: `differentiable` is false.
template <typename Compute>
at::Tensor with_gradients(const Compute& compute) {
  const bool differentiable = at::GradMode::is_enabled();
  const InnerGradMode grad_mode;
  const at::Tensor result = compute(differentiable);
  return differentiable ? result : result.detach();
}

/// The score of an energy at the points x as a function that can be differentiated again. To be used inside
/// `with_gradients`.
class ScoreGraph {
 public:
  /// x: (N, ...). `copies` of every point are taken, each with its own scores and derivatives, so
  /// that one pass serves as many directions. Without `create_graph` there is only the score.
  ScoreGraph(const Energy& energy, const at::Tensor& x, bool create_graph, int64_t copies = 1);

  /// The score at x: (N, D).
  at::Tensor score() const { return score_.reshape({copies_ * n_, -1}).narrow(0, 0, n_); }

  /// (ds/dx) v for directions v that broadcast to (copies, N, D); 0 where the score does not depend on x.
  at::Tensor jacobian_times(const at::Tensor& v, bool create_graph) const;

 private:
  int64_t n_;
  int64_t copies_;
  at::Tensor x_;      // (copies N, ...)
  at::Tensor score_;  // like x_
};

/// Whether any of these second derivatives is not 0, or none of them can be read.
bool may_be_curved(const at::Tensor& second_derivatives);

/// Warns, once per process, that every second derivative that the criterion `op` computed was 0.
void warn_of_no_curvature(const char* op);

}  // namespace torch_ebm::detail
