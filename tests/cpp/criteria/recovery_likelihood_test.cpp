#include "torch_ebm/criteria/recovery_likelihood.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::recovery_likelihood_test {
namespace {

using testing::close;
using testing::mean_is;
using testing::seeded;

Energy standard_normal() {
  return Energy([](const at::Tensor& y) { return y.square().sum(1) / 2; });
}

TEST(RecoveryEnergy, AddsTheDistanceToTheNoisyStates) {
  const at::Tensor noisy = at::randn({3, 2}, seeded(1), at::kDouble);
  const at::Tensor x = at::randn({6, 2}, seeded(2), at::kDouble);
  const Energy conditional = recovery_energy(standard_normal(), noisy, 0.5);
  const at::Tensor d = noisy.repeat({2, 1}) - x;
  EXPECT_TRUE(close(conditional.value(x), x.square().sum(1) / 2 + 2 * d.square().sum(1), 1e-12));
  const auto [energies, score] = conditional.value_and_score(x);
  EXPECT_TRUE(close(energies, conditional.value(x), 1e-12));
  EXPECT_TRUE(close(score, 4 * d - x, 1e-12));
}

TEST(RecoveryEnergy, IsSampledByAnySampler) {
  const at::Tensor noisy = at::full({4000, 1}, 2.0, at::kDouble);
  const Energy conditional = recovery_energy(standard_normal(), noisy, 0.5);
  const at::Tensor x =
      mala(conditional, noisy, {.n_steps = 40, .generator = seeded(3)}, {.step_size = 0.15}).x;
  EXPECT_TRUE(mean_is(x.select(1, 0), 1.6));  // N(4 * 2 / 5, 1 / 5)
  EXPECT_TRUE(mean_is((x.select(1, 0) - 1.6).square(), 0.2));
}

TEST(RecoveryLikelihood, IsTheEnergyOfTheDataLessThatOfTheRecovered) {
  const at::Tensor x = at::randn({8, 2}, seeded(1), at::kDouble);
  const at::Tensor a = at::full({}, 1.3, at::kDouble).requires_grad_();
  const Energy energy([a](const at::Tensor& y) { return a * y.square().sum(1); });
  at::Tensor start;
  const Sampler sampler = [&start](const Energy&, const at::Tensor& y, const RunOptions&) {
    start = y;
    return Samples{2 * y};
  };
  const at::Tensor value = recovery_likelihood(energy, x, {.generator = seeded(2)}, {0.5, sampler});
  const at::Tensor expected = (x.square().sum(1) - 4 * start.square().sum(1)).mean();
  EXPECT_TRUE(close(value.detach(), 1.3 * expected, 1e-12));
  EXPECT_LT((start - x).abs().max().item<double>(), 3);
  EXPECT_FALSE(at::equal(start, x));
  value.backward();
  EXPECT_TRUE(close(a.grad(), expected, 1e-12));
}

TEST(RecoveryLikelihood, WrongArgumentsAreNamed) {
  const at::Tensor x = at::randn({4, 2}, seeded(1));
  const Sampler stay = [](const Energy&, const at::Tensor& y, const RunOptions&) {
    return Samples{y};
  };
  const Sampler fewer = [](const Energy&, const at::Tensor& y, const RunOptions&) {
    return Samples{y.slice(0, 0, 2)};
  };
  EXPECT_THROWS(recovery_likelihood(standard_normal(), x, {}, {0.0, stay}), c10::ValueError,
                "sigma must be > 0");
  EXPECT_THROWS(recovery_likelihood(standard_normal(), x, {}, {1.0, {}}), c10::ValueError,
                "sampler must not be empty");
  EXPECT_THROWS(recovery_likelihood(standard_normal(), x, {}, {1.0, fewer}), c10::ValueError,
                "sampler must return the shape");
  EXPECT_THROWS(recovery_energy(standard_normal(), x, -1), c10::ValueError, "sigma must be > 0");
  EXPECT_THROWS(recovery_energy(standard_normal(), x, 1).value(x.slice(0, 0, 3)), c10::ValueError,
                "x must have the shape of noisy, (4, 2)");
}

}  // namespace
}  // namespace torch_ebm::recovery_likelihood_test
