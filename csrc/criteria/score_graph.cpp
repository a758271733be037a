#include "csrc/criteria/score_graph.h"

#include <torch/csrc/autograd/autograd.h>

#include "csrc/energy/score.h"

namespace torch_ebm::detail {

namespace {

/// A leaf in memory of its own: x may change before the backward pass.
at::Tensor leaf_of_copies(const at::Tensor& x, int64_t copies) {
  std::vector<int64_t> repeats(static_cast<size_t>(x.dim()), 1);
  repeats[0] = copies;
  return x.detach().repeat(repeats).requires_grad_();
}

}  // namespace

ScoreGraph::ScoreGraph(const Energy& energy, const at::Tensor& x, bool create_graph, int64_t copies)
    : n_(x.size(0)), copies_(copies), x_(leaf_of_copies(x, copies)) {
  score_ = score_of(energy.value(x_), x_, create_graph);
}

at::Tensor ScoreGraph::jacobian_times(const at::Tensor& v, bool create_graph) const {
  const at::Tensor directions = v.expand({copies_, n_, -1}).reshape(x_.sizes());
  at::Tensor product;
  if (score_.requires_grad()) {
    product = torch::autograd::grad({score_}, {x_}, {directions}, /*retain_graph=*/true,
                                    create_graph, /*allow_unused=*/true)[0];
  }
  if (!product.defined()) product = at::zeros_like(x_.detach());
  return product.view({copies_, n_, -1});
}

void warn_of_no_curvature(const char* op) {
  TORCH_WARN_ONCE(op,
                  ": every second derivative of the energy that was computed is exactly 0. For an "
                  "energy that is linear in every x_i "
                  "that is right. But the kinks of a piecewise linear energy, such as a network of "
                  "ReLU units, are not seen, and "
                  "without them the criterion does not match scores: use a smooth activation "
                  "(SiLU, softplus, tanh), or "
                  "denoising_score_matching, which takes first derivatives alone");
}

}  // namespace torch_ebm::detail
