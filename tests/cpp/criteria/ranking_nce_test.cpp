#include "torch_ebm/criteria/ranking_nce.h"

#include "tests/cpp/noises.h"
#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::ranking_nce_test {
namespace {

using testing::all_states;
using testing::close;

TEST(RankingNce, IsTheLogProbabilityOfTheExampleAmongItsNoise) {
  const at::Tensor x = all_states(3);
  const at::Tensor bias = at::tensor({0.5, -1.0, 0.25}, at::kDouble).requires_grad_();
  const Energy energy([&](const at::Tensor& u) { return -at::mv(u, bias); });
  const NoiseSamples noise = draw_noise(testing::fair_coins({3}), x, 2, testing::seeded(1));
  const at::Tensor own = at::mv(x, bias).exp();
  const at::Tensor others = at::matmul(noise.samples, bias).exp().sum(1);
  const at::Tensor terms = ranking_nce(energy, x, noise, {.reduction = "none"});
  EXPECT_TRUE(close(terms, -(own / (own + others)).log(), 1e-12));
  terms.sum().backward();
  EXPECT_GT(bias.grad().abs().max().item<double>(), 0);
  EXPECT_THROWS(ranking_nce(energy, x, {}), c10::ValueError, "ranking_nce: noise must be a tensor");
}

}  // namespace
}  // namespace torch_ebm::ranking_nce_test
