#include "csrc/criteria/chunked_sum.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <unordered_set>

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

namespace {

using torch::autograd::Node;
using torch::autograd::variable_list;

/// The leaves that `result` was computed from.
variable_list leaves_of(const at::Tensor& result) {
  variable_list leaves;
  std::unordered_set<Node*> seen;
  std::vector<Node*> open = {result.grad_fn().get()};
  while (!open.empty()) {
    Node* const node = open.back();
    open.pop_back();
    if (!node || !seen.insert(node).second) continue;
    if (const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
      leaves.push_back(leaf->variable);
    }
    for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
  }
  return leaves;
}

/// The backward pass of a sum of chunks: the graph of one chunk at a time.
class ChunkedSumBackward : public Node {
 public:
  ChunkedSumBackward(variable_list leaves, int64_t n_terms, int64_t chunk, Terms terms)
      : Node(torch::autograd::collect_next_edges(leaves)),
        leaves_(std::move(leaves)),
        n_terms_(n_terms),
        chunk_(chunk),
        terms_(std::move(terms)) {
    for (const at::Tensor& leaf : leaves_) versions_.push_back(leaf._version());
  }

  std::string name() const override { return "ChunkedSumBackward"; }

  variable_list apply(variable_list&& gradients) override {
    check_unchanged();
    const bool create_graph = at::GradMode::is_enabled();
    variable_list totals(leaves_.size());
    if (!gradients[0].defined()) return totals;
    for (int64_t begin = 0; begin < n_terms_; begin += chunk_) {
      const at::Tensor sum = recomputed(begin);
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
  at::Tensor recomputed(int64_t begin) const {
    const at::AutoGradMode grad(true);
    return terms_(begin, std::min(begin + chunk_, n_terms_));
  }

  void check_unchanged() const {
    for (size_t i = 0; i < leaves_.size(); ++i) {
      TORCH_CHECK(leaves_[i]._version() == versions_[i],
                  "a parameter of the energy was changed in place between a criterion and its "
                  "backward pass, which computes the energies again");
    }
  }

  variable_list leaves_;
  std::vector<uint32_t> versions_;
  int64_t n_terms_;
  int64_t chunk_;
  Terms terms_;
};

}  // namespace

at::Tensor chunked_sum(int64_t n_terms, int64_t chunk, const Terms& terms) {
  const at::Tensor first = terms(0, std::min(chunk, n_terms));
  if (chunk >= n_terms) return first;
  at::Tensor total = first.detach();
  {
    const at::NoGradGuard no_grad;
    for (int64_t begin = chunk; begin < n_terms; begin += chunk) {
      total = total + terms(begin, std::min(begin + chunk, n_terms));
    }
  }
  if (!first.requires_grad()) return total;
  const c10::intrusive_ptr<Node> backward =
      c10::make_intrusive<ChunkedSumBackward>(leaves_of(first), n_terms, chunk, terms);
  torch::autograd::set_history(total, backward);
  return total;
}

int64_t terms_per_chunk(const char* op, const std::optional<int64_t>& asked, int64_t states,
                        int64_t numbers) {
  constexpr int64_t kNumbers = 1 << 20;
  if (!asked) return std::max<int64_t>(1, kNumbers / numbers);
  check_at_least(op, "chunk_size", *asked, 1);
  return std::max<int64_t>(1, *asked / states);
}

}  // namespace torch_ebm::detail
