#include "csrc/criteria/score_graph.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "csrc/common/checks.h"
#include "csrc/energy/score.h"

namespace torch_ebm::detail {

namespace {

/// The start of the graph of a score. Gradients that arrive here are dropped: a leaf would keep
/// them as its .grad, and with them, under create_graph, the whole graph.
struct Source : torch::autograd::Node {
  std::string name() const override { return "ScoreSource"; }
  torch::autograd::variable_list apply(torch::autograd::variable_list&&) override { return {}; }
};

/// `copies` of x, one after the other, in their own memory, to differentiate in.
at::Tensor source_of_copies(const at::Tensor& x, int64_t copies) {
  std::vector<int64_t> repeats(static_cast<size_t>(x.dim()), 1);
  repeats[0] = copies;
  at::Tensor source = x.detach().repeat(repeats);
  const c10::intrusive_ptr<torch::autograd::Node> node = c10::make_intrusive<Source>();
  torch::autograd::set_history(source, node);
  return source;
}

}  // namespace

ScoreGraph::ScoreGraph(const Energy& energy, const at::Tensor& x, bool create_graph, int64_t copies)
    : n_(x.size(0)), copies_(copies), x_(source_of_copies(x, copies)) {
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

bool may_be_curved(const at::Tensor& second_derivatives) {
  return !has_values(second_derivatives) || second_derivatives.any().item<bool>();
}

void warn_of_no_curvature(const char* op) {
  TORCH_WARN_ONCE(
      op,
      ": every second derivative of the energy that was computed is exactly 0. For an energy that "
      "is linear in every x_i, this is right. For a piecewise linear energy, such as a ReLU "
      "network, the kinks are missed, and the criterion then does not match scores: use a smooth "
      "activation (SiLU, softplus, tanh), or denoising_score_matching, which takes only first "
      "derivatives");
}

}  // namespace torch_ebm::detail
