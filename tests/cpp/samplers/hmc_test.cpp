#include "torch_ebm/samplers/hmc.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::hmc_test {
namespace {

using testing::close;
using testing::mean_is;
using testing::seeded;

const Energy& standard_normal() {
  static const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  return energy;
}

at::Tensor normal_states(int64_t n, int64_t d, uint64_t seed) {
  return at::randn({n, d}, seeded(seed), at::kDouble);
}

TEST(HMC, LeavesANormalLawInvariant) {
  const Samples samples =
      hmc(standard_normal(), normal_states(50000, 2, 1), {.n_steps = 3, .generator = seeded(2)},
          {.step_size = 1.2, .n_leapfrog = 3});
  EXPECT_TRUE(mean_is(samples.x.select(1, 0), 0));
  EXPECT_TRUE(mean_is(samples.x.square().sum(1), 2));
  EXPECT_TRUE(mean_is(samples.x.pow(4).sum(1), 6));
  EXPECT_LT(samples.acceptance_rate.mean().item<double>(), 0.95);
}

TEST(HMC, ChainsHaveTheirOwnTemperatures) {
  const at::Tensor beta = at::tensor({0.25, 4.0}, at::kDouble).repeat_interleave(30000);
  const at::Tensor start = normal_states(60000, 1, 3) / beta.sqrt().unsqueeze(1);
  const Samples samples =
      hmc(standard_normal(), start, {.n_steps = 2, .beta = beta, .generator = seeded(4)},
          {.step_size = 0.6, .n_leapfrog = 3});
  const at::Tensor scaled = samples.x.flatten() * beta.sqrt();
  EXPECT_TRUE(mean_is(scaled.slice(0, 0, 30000).square(), 1));
  EXPECT_TRUE(mean_is(scaled.slice(0, 30000).square(), 1));
}

TEST(HMC, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const auto sample = [](int64_t n) {
    return hmc(standard_normal(), normal_states(2000, 30, 5).slice(0, 0, n),
               {.n_steps = 3, .generator = seeded(6)}, {.step_size = 0.4, .jitter = 0.5})
        .x;
  };
  testing::expect_same_for_any_threads_and_chains(sample, 2000);
}

TEST(HMC, OneLeapfrogStepIsMALA) {
  const at::Tensor x = normal_states(50, 3, 7);
  const Samples one = hmc(standard_normal(), x, {.n_steps = 4, .generator = seeded(8)},
                          {.step_size = 0.6, .n_leapfrog = 1});
  const Samples other = mala(standard_normal(), x, {.n_steps = 4, .generator = seeded(8)},
                             {.step_size = 0.6 * 0.6 / 2});
  EXPECT_TRUE(close(one.x, other.x));
  EXPECT_TRUE(close(one.acceptance_rate, other.acceptance_rate));
}

TEST(HMC, WrongArgumentsAreNamed) {
  const at::Tensor x = at::zeros({2, 3});
  const auto run = [&](const HMCOptions& options) { hmc(standard_normal(), x, {}, options); };
  EXPECT_THROWS(run({.n_leapfrog = 0}), c10::ValueError, "n_leapfrog must be at least 1");
  EXPECT_THROWS(run({.jitter = 1}), c10::ValueError, "jitter must be in [0, 1)");
  EXPECT_THROWS(run({.step_size = -1.0}), c10::ValueError, "step_size must be > 0");
  EXPECT_THROWS(run({.inverse_mass = at::zeros({3})}), c10::ValueError, "must be positive");
}

}  // namespace
}  // namespace torch_ebm::hmc_test
