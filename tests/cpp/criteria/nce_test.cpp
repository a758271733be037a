#include "torch_ebm/criteria/nce.h"

#include <cmath>

#include "tests/cpp/noises.h"
#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::nce_test {
namespace {

using testing::all_states;
using testing::close;
using testing::fair_coins;
using testing::seeded;

struct NceTest : ::testing::Test {
  at::Tensor x = all_states(3);
  at::Tensor bias = at::tensor({0.5, -1.0, 0.25}, at::kDouble).requires_grad_();
  Energy energy{[this](const at::Tensor& u) { return -at::mv(u, bias); }};
  NoiseSamples noise = draw_noise(fair_coins({3}), x, 2, seeded(1));
};

TEST_F(NceTest, IsTheLogisticLossOfDataAgainstNoise) {
  const at::Tensor log_z = at::full({}, 1.5, at::kDouble).requires_grad_();
  const at::Tensor terms = nce(energy, x, noise, {.reduction = "none"}, {log_z});
  const double log_nu_q = std::log(2.0) - 3 * std::log(2.0);
  const auto p_data = [&](const at::Tensor& u) {
    return at::sigmoid(at::mv(u, bias) - 1.5 - log_nu_q);
  };
  at::Tensor expected = -p_data(x).log();
  for (int64_t k = 0; k < 2; ++k) {
    expected = expected - (1 - p_data(noise.samples.select(1, k))).log();
  }
  EXPECT_TRUE(close(terms, expected, 1e-12));
  EXPECT_TRUE(close(nce(energy, x, noise, {}, {log_z}), terms.mean()));
}

TEST_F(NceTest, LearnsLogZBesideTheEnergy) {
  // The data are the model's law exactly, and every example is compared with all states.
  const at::Tensor field = at::mv(x, bias).detach();
  const at::Tensor log_z = at::logsumexp(field, {0}).requires_grad_();
  const at::Tensor log_q = at::full({8}, -3 * std::log(2.0), at::kDouble);
  const NoiseSamples every{x.expand({8, 8, 3}), log_q.expand({8, 8}), log_q};
  nce(energy, x, every, {.weights = at::softmax(field, 0)}, {log_z}).backward();
  EXPECT_LT(log_z.grad().abs().item<double>(), 1e-14);
  EXPECT_LT(bias.grad().abs().max().item<double>(), 1e-14);
}

TEST_F(NceTest, WrongArgumentsAreNamed) {
  EXPECT_THROWS(nce(energy, x, noise, {}, {at::zeros({2})}), c10::ValueError,
                "nce: log_z must have shape ()");
  NoiseSamples wrong = noise;
  wrong.data_log_prob = noise.data_log_prob.clone();
  wrong.data_log_prob[5] = -INFINITY;
  EXPECT_THROWS(nce(energy, x, wrong), c10::ValueError,
                "nce: data_log_prob must be finite, got -inf at example 5");
  EXPECT_THROWS(nce(energy, x, {}), c10::ValueError, "nce: noise must be a tensor");
}

}  // namespace
}  // namespace torch_ebm::nce_test
