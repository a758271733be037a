#include "csrc/criteria/chunked_sum.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"

namespace torch_ebm::detail {

namespace {

using torch::autograd::Node;
using torch::autograd::variable_list;

/// The leaves of the graphs of several results, each once.
class Leaves {
 public:
  void add_those_of(const at::Tensor& result) {
    std::vector<Node*> open = {result.grad_fn().get()};
    std::unordered_set<Node*> seen;
    while (!open.empty()) {
      Node* const node = open.back();
      open.pop_back();
      if (!node || !seen.insert(node).second) continue;
      if (const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
        if (known_.insert(leaf->variable.unsafeGetTensorImpl()).second) {
          tensors.push_back(leaf->variable);
        }
      }
      for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
    }
  }
  variable_list tensors;

 private:
  std::unordered_set<c10::TensorImpl*> known_;
};

/// Whether two computations of the same terms may differ by this much.
bool same_values(const at::Tensor& a, const at::Tensor& b) {
  const double tolerance = std::sqrt(a.scalar_type() == at::kDouble     ? 2e-16
                                     : a.scalar_type() == at::kFloat    ? 1e-7
                                     : a.scalar_type() == at::kBFloat16 ? 8e-3
                                                                        : 1e-3);
  return at::allclose(a, b, tolerance, tolerance, /*equal_nan=*/true);
}

/// The backward pass of a sum of chunks: the graph of one chunk at a time.
class ChunkedSumBackward : public Node {
 public:
  ChunkedSumBackward(std::string op, variable_list leaves, variable_list sums, int64_t n_terms,
                     int64_t chunk, Terms terms)
      : Node(torch::autograd::collect_next_edges(leaves)),
        op_(std::move(op)),
        leaves_(std::move(leaves)),
        sums_(std::move(sums)),
        n_terms_(n_terms),
        chunk_(chunk),
        terms_(std::move(terms)) {}

  std::string name() const override { return "ChunkedSumBackward"; }

  variable_list apply(variable_list&& gradients) override {
    const bool create_graph = at::GradMode::is_enabled();
    variable_list totals(leaves_.size());
    if (!gradients[0].defined()) return totals;
    Progress progress(op_, static_cast<int64_t>(sums_.size()));
    for (size_t k = 0; k < sums_.size(); ++k) {
      progress.step(static_cast<int64_t>(k));
      const at::Tensor sum = recomputed(k);
      if (!sum.requires_grad()) continue;
      // What the chunks share, such as the energies of the data, is needed again: hence retain_graph.
      const variable_list parts =
          torch::autograd::grad({sum}, leaves_, {gradients[0]}, /*retain_graph=*/true, create_graph,
                                /*allow_unused=*/true);
      for (size_t i = 0; i < parts.size(); ++i) {
        if (!parts[i].defined()) continue;
        totals[i] = totals[i].defined() ? totals[i] + parts[i] : parts[i];
      }
    }
    return totals;
  }

 private:
  at::Tensor recomputed(size_t k) const {
    const at::AutoGradMode grad(true);
    const int64_t begin = static_cast<int64_t>(k) * chunk_;
    const at::Tensor sum = terms_(begin, std::min(begin + chunk_, n_terms_));
    TORCH_CHECK(same_values(sum.detach(), sums_[k]), op_,
                ": the energy gave different values when the backward pass recomputed it; it and "
                "its parameters must not change before then, or leave out chunk_size");
    return sum;
  }

  std::string op_;
  variable_list leaves_;
  variable_list sums_;  // of the chunks, as they were
  int64_t n_terms_;
  int64_t chunk_;
  Terms terms_;
};

at::Tensor sum_with_graph(const char* op, int64_t n_terms, int64_t chunk, const Terms& terms) {
  Progress progress(op, n_terms);
  at::Tensor total = terms(0, std::min(chunk, n_terms));
  for (int64_t begin = chunk; begin < n_terms; begin += chunk) {
    progress.step(begin);
    total = total + terms(begin, std::min(begin + chunk, n_terms));
  }
  return total;
}

}  // namespace

at::Tensor chunked_sum(const char* op, int64_t n_terms, const Chunks& chunks, const Terms& terms) {
  if (!chunks.recompute || chunks.size >= n_terms || !at::GradMode::is_enabled()) {
    return sum_with_graph(op, n_terms, chunks.size, terms);
  }
  Leaves leaves;
  variable_list sums;
  Progress progress(op, n_terms);
  for (int64_t begin = 0; begin < n_terms; begin += chunks.size) {
    progress.step(begin);
    const at::Tensor sum = terms(begin, std::min(begin + chunks.size, n_terms));
    TORCH_CHECK_NOT_IMPLEMENTED(!torch::autograd::isFwGradDefined(sum), op,
                                ": forward-mode derivatives need the graph: leave out chunk_size");
    if (sum.requires_grad()) leaves.add_those_of(sum);
    sums.push_back(sum.detach());
  }
  at::Tensor total = at::stack(sums).sum(0);
  if (leaves.tensors.empty()) return total;
  const c10::intrusive_ptr<Node> backward = c10::make_intrusive<ChunkedSumBackward>(
      op, std::move(leaves.tensors), std::move(sums), n_terms, chunks.size, terms);
  torch::autograd::set_history(total, backward);
  return total;
}

Chunks chunks_of(const char* op, const std::optional<int64_t>& asked, int64_t states,
                 int64_t numbers) {
  constexpr int64_t kNumbers = 1 << 20;
  if (!asked) return {std::max<int64_t>(1, kNumbers / numbers), false};
  check_at_least(op, "chunk_size", *asked, 1);
  return {std::max<int64_t>(1, *asked / states), true};
}

}  // namespace torch_ebm::detail
