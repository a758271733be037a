#include "torch_ebm/partition/annealing/schedule.h"

#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/tune_path.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::schedule_test {
namespace {

using testing::seeded;

/// From N(0, 1) to N(0, 1/100), three units.
class Narrowing : public EnergyFunction {
 public:
  at::Tensor value(const at::Tensor& x) const override { return 50 * x.square().sum(1); }
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    return x.square().sum(1) / 2;
  }
};

Energy narrowing() { return Energy(std::make_shared<Narrowing>()); }
at::Tensor start(int64_t n) { return at::randn({n, 3}, seeded(1), at::TensorOptions(at::kDouble)); }

TEST(Schedule, LinearAndSigmoid) {
  EXPECT_TRUE(testing::close(linear_schedule(4), at::tensor({0.0, 0.25, 0.5, 0.75, 1.0})));
  const at::Tensor s = sigmoid_schedule(10);
  EXPECT_EQ(s[0].item<double>(), 0);
  EXPECT_EQ(s[-1].item<double>(), 1);
  EXPECT_NEAR(s[5].item<double>(), 0.5, 1e-12);
  EXPECT_LT(s[1].item<double>(), s[6].item<double>() - s[5].item<double>());
  EXPECT_THROWS(linear_schedule(0), c10::ValueError, "n_steps must be at least 1");
  EXPECT_THROWS(sigmoid_schedule(3, -1), c10::ValueError, "steepness must be > 0");
}

TEST(Schedule, AdaptiveStepsGrowWithTemperature) {
  // At beta the precision is 1 + 99 beta: steps of equal conditional ESS multiply it by a constant.
  const PathTuning tuning =
      tune_path(narrowing(), start(100), linear_schedule(10), "mala", {.generator = seeded(2)});
  const at::Tensor betas = adaptive_schedule(narrowing(), start(5000), tuning.bind(5),
                                             {.conditional_ess = 0.95, .generator = seeded(3)});
  const at::Tensor ratio = at::diff(at::log(1 + 99 * betas)).slice(0, 0, -1);
  EXPECT_GT(ratio.size(0), 5);
  EXPECT_LT((ratio.max() / ratio.min()).item<double>(), 1.4);
  EXPECT_THROWS(adaptive_schedule(narrowing(), start(5), tuning.bind(), {.conditional_ess = 1}),
                c10::ValueError, "conditional_ess must be in (0, 1)");
  EXPECT_THROWS(adaptive_schedule(narrowing(), start(50), tuning.bind(), {.max_temperatures = 3}),
                c10::ValueError, "more than max_temperatures");
}

TEST(TunePath, StepsSuitEveryTemperature) {
  for (const std::string sampler : {"hmc", "mala"}) {
    const PathTuning tuning =
        tune_path(narrowing(), start(100), linear_schedule(10), sampler, {.generator = seeded(4)});
    EXPECT_EQ(tuning.step_size.sizes(), at::IntArrayRef({11}));
    for (const double beta : {0.0, 0.03, 1.0}) {
      const at::Tensor x = start(500) / std::sqrt(1 + 99 * beta);
      const Samples samples = tuning.bind(3)(
          narrowing(), x, {.beta = at::full({}, beta, at::kDouble), .generator = seeded(5)});
      const double rate = samples.acceptance_rate.mean().item<double>();
      EXPECT_GT(rate, 0.4);
      EXPECT_LT(rate, 0.99);
    }
  }
  EXPECT_THROWS(tune_path(narrowing(), start(10), linear_schedule(2), "nuts"), c10::ValueError,
                "sampler must be \"hmc\" or \"mala\"");
  EXPECT_THROWS(tune_path(narrowing(), start(10), linear_schedule(2).flip(0)), c10::ValueError,
                "betas must rise");
}

TEST(Schedule, SalakhutdinovAndMurraysIsDenseNearOne) {
  const at::Tensor betas = salakhutdinov_murray_schedule(14500);
  const at::Tensor ends = betas.index_select(0, at::tensor({0, 500, 4500, 14500}, at::kLong));
  EXPECT_TRUE(at::allclose(ends, at::tensor({0.0, 0.5, 0.9, 1.0}, at::kDouble)));
  EXPECT_THROWS(salakhutdinov_murray_schedule(2), c10::ValueError, "at least 3");
}

}  // namespace
}  // namespace torch_ebm::schedule_test
