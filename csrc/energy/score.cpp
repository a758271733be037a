#include "csrc/energy/score.h"

#include <torch/csrc/autograd/autograd.h>

namespace torch_ebm::detail {

at::Tensor score_of(const at::Tensor& energies, const at::Tensor& x, bool create_graph) {
  constexpr const char* kNoScore =
      "energy: its value must depend differentiably on x to have a score";
  TORCH_CHECK_VALUE(energies.requires_grad(), kNoScore);
  const at::Tensor score =
      torch::autograd::grad({energies}, {x}, {at::full_like(energies, -1)},
                            /*retain_graph=*/create_graph, create_graph, /*allow_unused=*/true)[0];
  TORCH_CHECK_VALUE(score.defined(), kNoScore);
  return score;
}

}  // namespace torch_ebm::detail
