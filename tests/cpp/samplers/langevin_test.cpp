#include "torch_ebm/samplers/langevin.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::langevin_test {
namespace {

using testing::close;
using testing::mean_is;
using testing::seeded;

const Energy& standard_normal() {
  static const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  return energy;
}

TEST(Langevin, OneStepHasTheLawOfTheFormula) {
  constexpr double kStep = 0.3;
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = langevin(standard_normal(), at::full({200000, 1}, 2.0, dtype),
                                  {.generator = seeded(1)}, {.step_size = kStep})
                             .x.flatten();
    EXPECT_EQ(x.scalar_type(), dtype);
    const at::Tensor xi = (x.to(at::kDouble) - (2 - kStep * 2)) / std::sqrt(2 * kStep);
    EXPECT_TRUE(mean_is(xi, 0));
    EXPECT_TRUE(mean_is(xi.square(), 1));
    EXPECT_TRUE(mean_is(xi.pow(4), 3));
  }
}

TEST(Langevin, HasTheStationaryVarianceOfTheDiscreteChain) {
  for (double step_size : {0.1, 0.5, 1.5}) {
    const at::Tensor x = langevin(standard_normal(), at::zeros({30000, 2}),
                                  {.n_steps = 80, .generator = seeded(2)}, {.step_size = step_size})
                             .x;
    EXPECT_TRUE(mean_is(x.select(1, 0), 0)) << step_size;
    EXPECT_TRUE(mean_is(x.select(1, 1).square(), 1 / (1 - step_size / 2))) << step_size;
    EXPECT_TRUE(mean_is(x.select(1, 0) * x.select(1, 1), 0)) << step_size;
  }
}

TEST(Langevin, StepsAreIndependent) {
  const Energy flat([](const at::Tensor& x) { return (x * 0).sum(1); });
  const at::Tensor zero = at::zeros({100000, 1});
  const at::Tensor one = langevin(flat, zero, {.generator = seeded(3)}, {.step_size = 0.5}).x;
  const at::Tensor two =
      langevin(flat, zero, {.n_steps = 2, .generator = seeded(3)}, {.step_size = 0.5}).x;
  EXPECT_TRUE(mean_is((one * (two - one)).flatten(), 0));
  EXPECT_TRUE(mean_is(two.square().flatten(), 2));
}

TEST(Langevin, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const auto sample = [](int64_t n) {
    return langevin(standard_normal(), at::zeros({n, 50}), {.n_steps = 3, .generator = seeded(4)},
                    {.step_size = 0.1})
        .x;
  };
  testing::expect_same_for_any_threads_and_chains(sample, 2000);
}

TEST(Langevin, KeepsShapeInputAndParametersAlone) {
  const at::Tensor w = at::ones({}).requires_grad_();
  const Energy energy([&](const at::Tensor& x) { return x.square().flatten(1).sum(1) * w; });
  const at::Tensor x = at::ones({4, 3, 2}).transpose(1, 2).requires_grad_();
  const at::Tensor y = langevin(energy, x, {.n_steps = 3, .generator = seeded(5)}).x;
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_FALSE(y.requires_grad());
  EXPECT_FALSE(w.grad().defined());
  EXPECT_FALSE(x.grad().defined());
  EXPECT_TRUE(x.eq(1).all().item<bool>());
}

TEST(Langevin, RunsInInferenceMode) {
  const at::Tensor start = at::ones({4, 3});
  const at::Tensor expected =
      langevin(standard_normal(), start, {.n_steps = 2, .generator = seeded(6)}).x;
  const c10::InferenceMode inference;
  EXPECT_TRUE(at::equal(
      langevin(standard_normal(), start.clone(), {.n_steps = 2, .generator = seeded(6)}).x,
      expected));
}

TEST(Langevin, BadScoresAreNamed) {
  const Energy energy([](const at::Tensor& x) {
    // The score of chain 2 is NaN at its start.
    return at::sqrt(x - 1).sum(1);
  });
  at::Tensor x = at::full({4, 2}, 5.0);
  x[2][1] = 0;
  EXPECT_THROWS(langevin(energy, x, {}, {.step_size = 1e-6}).x, c10::ValueError,
                "the score of chain 2 is not finite at step 0");
  // 1 - 1e30 multiplies every step: infinite at the third.
  EXPECT_THROWS(
      langevin(standard_normal(), at::ones({1, 1}), {.n_steps = 9}, {.step_size = 1e30}).x,
      c10::ValueError, "step_size is too large");
}

TEST(Langevin, WrongArgumentsAreNamed) {
  const at::Tensor x = at::zeros({2, 3});
  const auto run = [&](const at::Tensor& y, RunOptions run, LangevinOptions options = {}) {
    return langevin(standard_normal(), y, run, options).x;
  };
  EXPECT_THROWS(run(x.to(at::kLong), {}), c10::TypeError, "x must have a floating dtype");
  EXPECT_THROWS(run(at::zeros({0, 3}), {}), c10::ValueError, "at least one chain");
  EXPECT_THROWS(run(x / 0, {}), c10::ValueError, "x must be finite, got 6 NaN");
  EXPECT_THROWS(run(x, {.n_steps = 0}), c10::ValueError, "n_steps must be at least 1");
  for (double bad : {0.0, -1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    EXPECT_THROWS(run(x, {}, {.step_size = bad}), c10::ValueError,
                  "step_size must be > 0 and finite");
  }
}

}  // namespace
}  // namespace torch_ebm::langevin_test
