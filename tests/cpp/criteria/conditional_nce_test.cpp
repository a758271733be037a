#include "torch_ebm/criteria/conditional_nce.h"

#include "tests/cpp/testing.h"

namespace torch_ebm::conditional_nce_test {
namespace {

using testing::close;
using testing::seeded;

struct ConditionalNceTest : ::testing::Test {
  at::Tensor x = at::randn({6, 2}, seeded(1), at::kDouble);
  at::Tensor precision = at::tensor({0.5, 2.0}, at::kDouble).requires_grad_();
  Energy energy{[this](const at::Tensor& u) { return 0.5 * at::mv(u.square(), precision); }};
};

TEST_F(ConditionalNceTest, ComparesAnExampleWithItsNoiseBothWays) {
  const at::Tensor noise = at::randn({6, 3, 2}, seeded(2), at::kDouble);
  const at::Tensor log_ratio = at::randn({6, 3}, seeded(3), at::kDouble);
  const at::Tensor terms =
      conditional_nce(energy, x, {.reduction = "none"}, {.noise = noise, .log_ratio = log_ratio});
  const at::Tensor g =
      0.5 * at::matmul(noise.square(), precision) - energy.value(x).unsqueeze(1) + log_ratio;
  EXPECT_TRUE(close(terms, 2 * (1 + (-g).exp()).log().mean(1), 1e-12));
  terms.sum().backward();
  EXPECT_GT(precision.grad().abs().max().item<double>(), 0);
}

TEST_F(ConditionalNceTest, DrawsItsOwnNoiseFromTheGenerator) {
  const auto value = [&](uint64_t seed) {
    return conditional_nce(energy, x, {.generator = seeded(seed)}, {.sigma = 0.5, .n_noise = 2});
  };
  EXPECT_TRUE(at::equal(value(1), value(1)));
  EXPECT_FALSE(at::equal(value(1), value(2)));
}

TEST_F(ConditionalNceTest, WrongOptionsAreNamed) {
  EXPECT_THROWS(conditional_nce(energy, x, {}, {}), c10::ValueError, "got neither");
  EXPECT_THROWS(conditional_nce(energy, x, {}, {.sigma = -1.0}), c10::ValueError,
                "conditional_nce: sigma must be finite and > 0, got -1");
}

}  // namespace
}  // namespace torch_ebm::conditional_nce_test
