#include "torch_ebm/criteria/ratio_matching.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::ratio_matching_test {
namespace {

using testing::all_states;
using testing::close;

TEST(RatioMatching, IsItsDefinition) {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    rbm->weight.copy_(at::randn({4, 3}, testing::seeded(1), at::kDouble));
  }
  const at::Tensor x = all_states(4, at::kDouble);
  at::Tensor expected = at::zeros({16}, at::kDouble);
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor y = x.clone();
    y.select(1, i).neg_().add_(1);
    expected = expected + (1 / (1 + (rbm->forward(y) - rbm->forward(x)).exp())).square();
  }
  const Energy lambda([rbm](const at::Tensor& y) { return rbm->forward(y); });
  for (const Energy& energy : {Energy(rbm), lambda}) {
    EXPECT_TRUE(close(ratio_matching(energy, x, {.reduction = "none"}), expected, 1e-12));
    at::Tensor value = ratio_matching(energy, x, {}, {.chunk_size = 20});
    EXPECT_TRUE(close(value, expected.mean(), 1e-12));
    value.backward();
  }
  EXPECT_GT(rbm->weight.grad().abs().max().item<double>(), 0);
}

TEST(RatioMatching, RefusesBadInput) {
  const Energy energy([](const at::Tensor& x) { return x.sum(1); });
  EXPECT_THROWS(ratio_matching(energy, at::full({2, 3}, 2.0)), c10::ValueError,
                "ratio_matching: x must");
  EXPECT_THROWS(ratio_matching(energy, at::ones({2, 3}), {}, {.n_sites = 0}), c10::ValueError,
                "ratio_matching: n_sites must be between 1 and 3, got 0");
}

}  // namespace
}  // namespace torch_ebm::ratio_matching_test
