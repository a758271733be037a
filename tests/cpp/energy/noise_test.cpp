#include "torch_ebm/energy/noise.h"

#include <cmath>

#include "tests/cpp/noises.h"
#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/criteria/maximum_likelihood.h"
#include "torch_ebm/criteria/nce.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::noise_test {
namespace {

using testing::all_states;
using testing::close;
using testing::fair_coins;
using testing::seeded;

TEST(Noise, IsDrawnForEveryExample) {
  const at::Tensor x = at::zeros({5, 2, 2}, at::kDouble);
  const NoiseSamples noise = draw_noise(fair_coins({2, 2}), x, 3, seeded(1));
  EXPECT_EQ(noise.samples.sizes(), (at::IntArrayRef{5, 3, 2, 2}));
  EXPECT_TRUE(close(noise.log_prob, at::full({5, 3}, -4 * std::log(2.0), at::kDouble)));
  EXPECT_TRUE(close(noise.data_log_prob, at::full({5}, -4 * std::log(2.0), at::kDouble)));
  EXPECT_TRUE(at::equal(noise.samples, draw_noise(fair_coins({2, 2}), x, 3, seeded(1)).samples));
  EXPECT_EQ(draw_noise(fair_coins({2, 2}), x.to(at::kFloat)).samples.scalar_type(), at::kFloat);
}

TEST(Noise, WrongNoiseIsNamed) {
  const at::Tensor x = at::zeros({5, 3}, at::kDouble);
  NoiseDistribution noise = fair_coins({3});
  EXPECT_THROWS(draw_noise(noise, x, 0), c10::ValueError, "draw_noise: n_noise must be at least 1");
  EXPECT_THROWS(draw_noise(fair_coins({2}), x), c10::ValueError, "draw_noise: the noise's sample");
  noise.log_prob = [](const at::Tensor& u) { return at::zeros_like(u); };
  EXPECT_THROWS(draw_noise(noise, x), c10::ValueError, "the noise's log_prob must have shape (N,)");
}

TEST(Noise, SelfContrastiveEstimationHasHalfTheGradientOfMaximumLikelihood) {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  const at::Tensor states = all_states(4);
  const at::Tensor x = states.slice(0, 3, 8), y = states.slice(0, 8, 13);
  const Energy energy(rbm);
  nce(energy, x, model_noise(energy, x, y.unsqueeze(1))).backward();
  const at::Tensor gradient = rbm->weight.grad().clone();
  rbm->weight.mutable_grad().reset();
  maximum_likelihood(energy, x, {}, {.negative_samples = y}).backward();
  EXPECT_TRUE(close(gradient, 0.5 * rbm->weight.grad(), 1e-12, 1e-14));
}

}  // namespace
}  // namespace torch_ebm::noise_test
