#include "torch_ebm/samplers/nuts.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::nuts_test {
namespace {

using testing::mean_is;
using testing::seeded;

at::Tensor normal_states(int64_t n, int64_t d, uint64_t seed) {
  return at::randn({n, d}, seeded(seed), at::kDouble);
}

/// Curved between 2 and infinity: energies of a trajectory differ.
const Energy& quartic() {
  static const Energy energy([](const at::Tensor& x) { return (x.square() + x.pow(4)).sum(1); });
  return energy;
}

TEST(NUTS, LeavesANormalLawInvariant) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  const Samples samples = nuts(energy, normal_states(20000, 2, 1),
                               {.n_steps = 3, .generator = seeded(2)}, {.step_size = 1.1});
  EXPECT_TRUE(mean_is(samples.x.select(1, 0), 0));
  EXPECT_TRUE(mean_is(samples.x.square().sum(1), 2));
  EXPECT_TRUE(mean_is(samples.x.pow(4).sum(1), 6));
  EXPECT_LT(samples.acceptance_rate.mean().item<double>(), 0.95);
}

TEST(NUTS, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const auto sample = [](int64_t n) {
    return nuts(quartic(), normal_states(2000, 3, 3).slice(0, 0, n),
                {.n_steps = 3, .generator = seeded(4)}, {.step_size = 0.4})
        .x;
  };
  testing::expect_same_for_any_threads_and_chains(sample, 2000);
}

TEST(NUTS, WritesInPlaceAndKeepsATrajectory) {
  const at::Tensor x = normal_states(5, 2, 5);
  const Samples samples =
      nuts(quartic(), x, {.n_steps = 6, .thin = 2, .inplace = true, .generator = seeded(6)}, {0.3});
  EXPECT_TRUE(x.is_same(samples.x));
  EXPECT_EQ(samples.trajectory.size(0), 3);
  EXPECT_TRUE(at::equal(samples.trajectory[2], x));
}

TEST(NUTS, WrongArgumentsAreNamed) {
  const at::Tensor x = at::zeros({2, 3});
  EXPECT_THROWS(nuts(quartic(), x, {}, {.max_depth = 0}), c10::ValueError,
                "nuts: max_depth must be in [1, 20], got 0");
  EXPECT_THROWS(nuts(quartic(), x, {}, {.max_depth = 21}), c10::ValueError, "max_depth");
  EXPECT_THROWS(nuts(quartic(), x, {}, {.step_size = 0.0}), c10::ValueError, "step_size");
  EXPECT_THROWS(nuts(quartic(), at::zeros({0, 3})), c10::ValueError, "at least one chain");
}

}  // namespace
}  // namespace torch_ebm::nuts_test
