#include "torch_ebm/samplers/warm_up.h"

#include <vector>

#include "csrc/samplers/adaptation.h"
#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/hmc.h"
#include "torch_ebm/samplers/mala.h"
#include "torch_ebm/samplers/nuts.h"

namespace torch_ebm::warm_up_test {
namespace {

using testing::close;
using testing::seeded;

/// As algorithm 5 is printed, on the acceptances of a run: the step sizes after each, and the last
/// mean.
struct Printed {
  std::vector<double> step_sizes;
  double mean = 0;
};

Printed algorithm_5(double epsilon, double delta, const std::vector<double>& alphas) {
  const double mu = std::log(10 * epsilon), gamma = 0.05, t0 = 10, kappa = 0.75;
  double h_bar = 0, log_epsilon_bar = 0;
  Printed out;
  for (size_t i = 0; i < alphas.size(); ++i) {
    const double m = static_cast<double>(i) + 1;
    h_bar = (1 - 1 / (m + t0)) * h_bar + (delta - alphas[i]) / (m + t0);
    const double log_epsilon = mu - std::sqrt(m) / gamma * h_bar;
    const double eta = std::pow(m, -kappa);
    log_epsilon_bar = eta * log_epsilon + (1 - eta) * log_epsilon_bar;
    out.step_sizes.push_back(std::exp(log_epsilon));
  }
  out.mean = std::exp(log_epsilon_bar);
  return out;
}

TEST(WarmUp, DualAveragingIsAlgorithm5) {
  const at::Tensor noise = at::rand({200}, seeded(1), at::kDouble);
  const std::vector<double> alphas(noise.const_data_ptr<double>(),
                                   noise.const_data_ptr<double>() + noise.numel());
  detail::DualAveraging averaging(0.8);
  averaging.restart(5);
  averaging.update(0.1);
  averaging.restart(0.3);  // forgets
  const Printed expected = algorithm_5(0.3, 0.8, alphas);
  for (size_t i = 0; i < alphas.size(); ++i) {
    averaging.update(alphas[i]);
    EXPECT_NEAR(averaging.step_size() / expected.step_sizes[i], 1, 1e-9);
  }
  EXPECT_NEAR(averaging.mean_step_size() / expected.mean, 1, 1e-9);
}

TEST(WarmUp, PooledVarianceIsThatOfAllStates) {
  for (int64_t n_chains : {1, 7}) {
    const at::Tensor x = 1e3 + at::randn({20, n_chains, 2, 3}, seeded(2), at::kDouble);
    detail::PooledVariance variance;
    for (int64_t i = 0; i < x.size(0); ++i) variance.add(x[i]);
    const auto n = static_cast<double>(20 * n_chains);
    const at::Tensor expected = x.flatten(0, 1).var(0) * (n / (n + 5)) + 1e-3 * (5 / (n + 5));
    EXPECT_TRUE(close(variance.regularised(), expected, 1e-10));
  }
}

TEST(WarmUp, WindowsDoubleAndFillTheMiddle) {
  const auto ends = [](int64_t n_steps) { return detail::Windows(n_steps).ends; };
  EXPECT_EQ(detail::Windows(1000).begin, 75);
  EXPECT_EQ(ends(1000), (std::vector<int64_t>{100, 150, 250, 800}));
  EXPECT_EQ(detail::Windows(300).begin, 45);
  EXPECT_EQ(ends(300), (std::vector<int64_t>{70, 120, 240}));
  EXPECT_EQ(ends(100), (std::vector<int64_t>{80}));
  EXPECT_EQ(detail::Windows(20).begin, 3);
  EXPECT_EQ(ends(20), (std::vector<int64_t>{16}));
}

TEST(WarmUp, FindsScalesAndTheTargetAcceptance) {
  const at::Tensor scales = at::tensor({0.01, 1.0, 100.0}, at::kDouble);
  const Energy energy([&](const at::Tensor& x) { return (x / scales).square().sum(1) / 2; });
  const at::Tensor start = scales * at::randn({50, 3}, seeded(3), at::kDouble);
  const WarmUp found =
      warm_up(energy, start, "nuts", {.n_steps = 300, .max_depth = 6, .generator = seeded(4)});
  EXPECT_TRUE(close(found.inverse_mass / scales.square(), at::ones({3}, at::kDouble), 0.15));
  const Samples samples = nuts(energy, found.x, {.n_steps = 50, .generator = seeded(5)},
                               {.step_size = found.step_size, .inverse_mass = found.inverse_mass});
  EXPECT_NEAR(samples.acceptance_rate.mean().item<double>(), 0.8, 0.06);
}

TEST(WarmUp, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1); });
  const at::Tensor x = at::zeros({2, 3});
  EXPECT_THROWS(warm_up(energy, x, "gibbs"), c10::ValueError, "warm_up: sampler must be");
  EXPECT_THROWS(warm_up(energy, x, "hmc", {.n_steps = 19}), c10::ValueError,
                "n_steps must be at least 20");
  for (double bad : {0.0, 1.0, -0.1, static_cast<double>(NAN)}) {
    EXPECT_THROWS(warm_up(energy, x, "hmc", {.target_acceptance = bad}), c10::ValueError,
                  "target_acceptance must be in (0, 1)");
  }
}

}  // namespace
}  // namespace torch_ebm::warm_up_test
