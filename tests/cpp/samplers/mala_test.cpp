#include "torch_ebm/samplers/mala.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::mala_test {
namespace {

using testing::mean_is;
using testing::seeded;

TEST(MALA, CorrectsTheLawOfLangevin) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  const at::Tensor start = at::randn({60000, 1}, seeded(1), at::kDouble);
  const Samples samples =
      mala(energy, start, {.n_steps = 4, .generator = seeded(2)}, {.step_size = 1.0});
  EXPECT_TRUE(mean_is(samples.x.flatten(), 0));
  EXPECT_TRUE(mean_is(samples.x.flatten().square(), 1));  // without correction 2
  EXPECT_TRUE(mean_is(samples.x.flatten().pow(4), 3));
  EXPECT_LT(samples.acceptance_rate.mean().item<double>(), 0.9);
}

TEST(MALA, RejectsWhereTheEnergyIsNotFinite) {
  const Energy energy([](const at::Tensor& x) {
    return at::where(x.select(1, 0) > 0, NAN, x.square().sum(1) / 2);
  });
  const at::Tensor start = -at::rand({20000, 1}, seeded(3), at::kDouble);
  const Samples samples =
      mala(energy, start, {.n_steps = 3, .generator = seeded(4)}, {.step_size = 0.5});
  EXPECT_TRUE(samples.x.le(0).all().item<bool>());
  EXPECT_TRUE(at::isfinite(samples.acceptance_rate).all().item<bool>());
}

}  // namespace
}  // namespace torch_ebm::mala_test
