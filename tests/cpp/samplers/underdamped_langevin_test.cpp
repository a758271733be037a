#include "torch_ebm/samplers/underdamped_langevin.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::underdamped_langevin_test {
namespace {

using testing::mean_is;
using testing::seeded;

TEST(UnderdampedLangevin, IsExactOnAGaussianAtALargeStep) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  const Samples samples = underdamped_langevin(energy, at::zeros({50000, 1}, at::kDouble),
                                               {.n_steps = 40, .generator = seeded(1)}, {1.5});
  EXPECT_TRUE(mean_is(samples.x.flatten(), 0));
  EXPECT_TRUE(mean_is(samples.x.flatten().square(), 1));
  EXPECT_TRUE(samples.acceptance_rate.eq(1).all().item<bool>());
}

TEST(UnderdampedLangevin, WrongArgumentsAndBadScoresAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.pow(4).sum(1); });
  const at::Tensor x = at::full({2, 1}, 1e3);
  EXPECT_THROWS(underdamped_langevin(energy, x, {}, {.friction = 0}), c10::ValueError,
                "friction must be > 0");
  EXPECT_THROWS(underdamped_langevin(energy, x, {.n_steps = 50}, {.step_size = 10.0}),
                c10::ValueError, "is not finite at step");
}

}  // namespace
}  // namespace torch_ebm::underdamped_langevin_test
