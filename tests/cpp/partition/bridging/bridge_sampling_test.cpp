#include "torch_ebm/partition/bridging/bridge_sampling.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::bridge_sampling_test {
namespace {

using testing::seeded;

double number(const at::Tensor& x) { return x.item<double>(); }

/// log f_1 / f_0 of normal densities: of N(0, 1), and of N(mean, 1) scaled by exp(log_z).
at::Tensor log_ratio(const at::Tensor& x, double mean, double log_z) {
  return mean * x - 0.5 * mean * mean + log_z;
}

LogZEstimate normal_ratio(double mean, double log_z, const std::string& bridge) {
  at::Generator generator = seeded(3);
  const at::Tensor x_0 = at::randn({2000}, generator, at::kDouble);
  const at::Tensor x_1 = at::randn({3000}, generator, at::kDouble) + mean;
  return bridge_sampling(log_ratio(x_0, mean, log_z), log_ratio(x_1, mean, log_z), bridge);
}

TEST(BridgeSampling, FindsTheRatioWithinItsError) {
  for (const char* bridge : {"optimal", "geometric"}) {
    for (double log_z : {-700.0, 0.0, 700.0}) {
      const LogZEstimate estimate = normal_ratio(1.5, log_z, bridge);
      EXPECT_LT(std::abs(number(estimate.log_z) - log_z),
                testing::kMaxZ * number(estimate.std_error));
      EXPECT_LT(number(estimate.std_error), 0.04);
      EXPECT_TRUE(estimate.warning.empty());
      EXPECT_EQ(estimate.log_weights.size(0), 0);
    }
  }
}

TEST(BridgeSampling, IsExactForEqualLaws) {
  const LogZEstimate estimate = bridge_sampling(at::full({10}, 3.0), at::full({30}, 3.0));
  EXPECT_NEAR(number(estimate.log_z), 3, 1e-12);
  EXPECT_NEAR(number(estimate.std_error), 0, 1e-7);
  EXPECT_NEAR(number(estimate.ess), 4 * 10 * 30 / 40.0, 1e-10);
}

TEST(BridgeSampling, SaysThatLawsHardlyOverlap) {
  EXPECT_NE(normal_ratio(8, 0, "optimal").warning.find("samples are effective"), std::string::npos);
}

TEST(BridgeSampling, WrongArgumentsAreNamed) {
  const at::Tensor good = at::zeros({4});
  EXPECT_THROWS(bridge_sampling(at::zeros({1}), good), c10::ValueError, "at least 2, got 1");
  EXPECT_THROWS(bridge_sampling(good, at::zeros({2, 3})), c10::ValueError, "both be (n,)");
  EXPECT_THROWS(bridge_sampling(good, good, "wide"), c10::ValueError, "got 'wide'");
  EXPECT_THROWS(bridge_sampling(at::full({3}, INFINITY), good), c10::ValueError,
                "own distribution");
  EXPECT_THROWS(bridge_sampling(good, at::full({3}, INFINITY)), c10::ValueError,
                "none is possible");
}

}  // namespace
}  // namespace torch_ebm::bridge_sampling_test
