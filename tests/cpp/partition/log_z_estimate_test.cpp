#include "torch_ebm/partition/log_z_estimate.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::log_z_estimate_test {
namespace {

using testing::seeded;

TEST(LogZFromWeights, IsTheDeltaMethod) {
  // Its error is here larger than that of a log-normal law.
  const at::Tensor log_weights = at::log(at::tensor({0.0, 0.0, 6.0, 6.0}, at::kDouble));
  const LogZEstimate estimate = log_z_from_weights(log_weights, at::full({}, 10.0));
  EXPECT_NEAR(estimate.log_z.item<double>(), 10 + std::log(3.0), 1e-12);
  const double error = std::sqrt(36.0 / 3 / 4) / 3;  // variance (9 + 9 + 9 + 9) / 3
  EXPECT_NEAR(estimate.std_error.item<double>(), error, 1e-12);
  EXPECT_NEAR(estimate.ess.item<double>(), 2, 1e-12);
  // t(3) = 3.182446; the expansion is within 0.13%.
  EXPECT_NEAR(estimate.upper.item<double>() - estimate.log_z.item<double>(), 3.182446 * error,
              0.0013 * 3.183 * error);
  EXPECT_NEAR(estimate.log_z.item<double>() - estimate.lower.item<double>(), 3.182446 * error,
              0.01 * 3.18 * error);
}

TEST(LogZFromWeights, KeepsItsAccuracyFarFromOne) {
  const at::Tensor log_weights = at::randn({100}, seeded(7), at::kDouble);
  const auto at_zero = log_z_from_weights(log_weights, at::zeros({}, at::kDouble));
  const auto far = log_z_from_weights(log_weights - 5000, at::full({}, 5000.0, at::kDouble));
  EXPECT_NEAR(far.log_z.item<double>(), at_zero.log_z.item<double>(), 1e-9);
  EXPECT_NEAR(far.std_error.item<double>(), at_zero.std_error.item<double>(), 1e-9);
}

TEST(LogZFromWeights, WrongArgumentsAreNamed) {
  const at::Tensor base = at::zeros({}, at::kDouble);
  EXPECT_THROWS(log_z_from_weights(at::zeros({1}), base), c10::ValueError, "at least 2, got 1");
  EXPECT_THROWS(log_z_from_weights(at::tensor({0.0, static_cast<double>(NAN)}), base),
                c10::ValueError, "must not be NaN or +inf");
  EXPECT_THROWS(log_z_from_weights(at::full({2}, -INFINITY), base), c10::ValueError,
                "no chain reached the model");
  EXPECT_NO_THROW(log_z_from_weights(at::tensor({0.0, -static_cast<double>(INFINITY)}), base));
}

TEST(LogZFromWeights, DoubtsAreSaid) {
  const at::Tensor zero = at::zeros({}, at::kDouble);
  at::Tensor log_weights = at::zeros({100}, at::kDouble);
  EXPECT_TRUE(log_z_from_weights(log_weights, zero).warning.empty());
  log_weights[0] = 10;
  const LogZEstimate one_heavy = log_z_from_weights(log_weights, zero);
  EXPECT_NEAR(one_heavy.ess.item<double>(), 1.009, 1e-3);
  EXPECT_EQ(one_heavy.warning.rfind("Only 1.0 of 100 weights are effective", 0), 0U);
  const at::Tensor wide = at::linspace(0, 40, 1500, at::kDouble);
  EXPECT_NE(log_z_from_weights(wide, zero).warning.find("interval"), std::string::npos);
}

}  // namespace
}  // namespace torch_ebm::log_z_estimate_test
