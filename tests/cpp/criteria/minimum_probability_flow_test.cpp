#include "torch_ebm/criteria/minimum_probability_flow.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::minimum_probability_flow_test {
namespace {

using testing::all_states;
using testing::close;

TEST(MinimumProbabilityFlow, IsTheFlowToTheFlippedStates) {
  const at::Tensor x = all_states(4);
  const at::Tensor a = at::tensor({0.5, -1.0, 0.25, 2.0}, at::kDouble).requires_grad_();
  const Energy energy([a](const at::Tensor& y) { return at::mv(y, a); });
  at::Tensor expected = at::zeros({16}, at::kDouble);
  for (int64_t i = 0; i < 4; ++i) {
    const at::Tensor difference = (1 - 2 * x.select(1, i)) * a.detach()[i];
    expected = expected + at::exp(-difference / 2);
  }
  const at::Tensor terms = minimum_probability_flow(energy, x, {.reduction = "none"});
  EXPECT_TRUE(close(terms.detach(), expected, 1e-12));
  const at::Tensor chunked =
      minimum_probability_flow(energy, x, {.reduction = "none"}, {.chunk_size = 16});
  EXPECT_TRUE(close(chunked.detach(), expected, 1e-12));
  chunked.sum().backward();
  const at::Tensor slope = at::exp(a.detach() / 2) - at::exp(-a.detach() / 2);
  EXPECT_TRUE(close(a.grad(), 8 * slope / 2, 1e-12));  // of 8 examples each way
}

TEST(MinimumProbabilityFlow, OfCategories) {
  const at::Tensor h = at::tensor({0.5, -1.0, 0.25}, at::kDouble);
  const Energy energy([h](const at::Tensor& y) { return at::matmul(y, h).sum(1); });
  const at::Tensor x = at::eye(3, at::kDouble).unsqueeze(1);  // one site
  const at::Tensor terms =
      minimum_probability_flow(energy, x, {.reduction = "none"}, {.categorical = true});
  const at::Tensor flow = at::exp((h.unsqueeze(1) - h) / 2).sum(1) - 1;  // itself is no neighbour
  EXPECT_TRUE(close(terms, flow, 1e-12));
}

TEST(MinimumProbabilityFlow, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& y) { return y.sum(1); });
  const at::Tensor x = all_states(3);
  EXPECT_THROWS(minimum_probability_flow(energy, 2 * x), c10::ValueError, "x must hold zeros");
  EXPECT_THROWS(minimum_probability_flow(energy, x, {}, {.n_sites = 4}), c10::ValueError,
                "n_sites must be between 1 and 3, got 4");
  EXPECT_THROWS(minimum_probability_flow(energy, x, {}, {.chunk_size = 0}), c10::ValueError,
                "chunk_size must be at least 1");
}

}  // namespace
}  // namespace torch_ebm::minimum_probability_flow_test
