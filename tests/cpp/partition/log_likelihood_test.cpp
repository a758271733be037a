#include "torch_ebm/partition/log_likelihood.h"

#include <cmath>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::log_likelihood_test {
namespace {

using testing::close;

at::Tensor number(double value) { return at::full({}, value, at::kDouble); }

LogZEstimate estimate(const std::string& warning = "") {
  return {.log_z = number(10),
          .std_error = number(0.2),
          .lower = number(9.5),
          .upper = number(10.9),
          .ess = number(50),
          .log_weights = at::zeros({60}, at::kDouble),
          .warning = warning};
}

const Energy& first_column() {
  static const Energy energy([](const at::Tensor& x) { return -x.select(1, 0); });
  return energy;
}

const Energy& second_column() {
  static const Energy energy([](const at::Tensor& x) { return -x.select(1, 1); });
  return energy;
}

at::Tensor data() { return at::tensor({1.0, 0.0, 2.0, 1.0, 6.0, 3.0}, at::kDouble).view({3, 2}); }

constexpr double kT2 = 4.302652730;  // of Student's t with 2 degrees of freedom

TEST(LogLikelihood, IsTheNegativeEnergyLessLogZ) {
  const LogLikelihood result = log_likelihood(first_column(), data(), number(2));
  EXPECT_TRUE(close(result.values, at::tensor({-1.0, 0.0, 4.0}, at::kDouble)));
  EXPECT_NEAR(result.mean.item<double>(), 1, 1e-14);
  const double error = std::sqrt(7.0 / 3);  // variance (4 + 1 + 9) / 2 over 3 examples
  EXPECT_NEAR(result.data_error.item<double>(), error, 1e-14);
  EXPECT_NEAR(result.std_error.item<double>(), error, 1e-14);
  EXPECT_EQ(result.log_z_error.item<double>(), 0);
  EXPECT_NEAR(result.upper.item<double>(), 1 + kT2 * error, 1e-8);
  EXPECT_TRUE(result.warning.empty());
}

TEST(LogLikelihood, CarriesTheErrorOfLogZAlong) {
  const LogLikelihood result = log_likelihood(first_column(), data(), estimate("Doubt."), 2);
  const double error = std::sqrt(7.0 / 3);
  EXPECT_EQ(result.log_z_error.item<double>(), 0.2);
  EXPECT_NEAR(result.std_error.item<double>(), std::hypot(error, 0.2), 1e-14);
  EXPECT_NEAR(result.lower.item<double>(), -7 - std::hypot(kT2 * error, 0.9), 1e-8);
  EXPECT_NEAR(result.upper.item<double>(), -7 + std::hypot(kT2 * error, 0.5), 1e-8);
  EXPECT_EQ(result.warning, "Doubt.");
}

TEST(LogLikelihood, OfTwoModelsIsComparedByPairs) {
  const LogLikelihood exact =
      compare_log_likelihoods(first_column(), second_column(), data(), number(3), number(1));
  EXPECT_TRUE(close(exact.values, at::tensor({-1.0, -1.0, 1.0}, at::kDouble)));
  EXPECT_NEAR(exact.data_error.item<double>(), 2.0 / 3, 1e-14);  // variance 4 / 3
  const LogLikelihood estimated = compare_log_likelihoods(first_column(), second_column(), data(),
                                                          estimate("One."), estimate("Two."));
  EXPECT_NEAR(estimated.log_z_error.item<double>(), std::sqrt(0.08), 1e-14);
  const double arm = std::hypot(kT2 * 2 / 3, 0.9, 0.5);
  const double mean = 5.0 / 3;
  EXPECT_NEAR(estimated.lower.item<double>(), mean - arm, 1e-8);
  EXPECT_NEAR(estimated.upper.item<double>(), mean + arm, 1e-8);
  EXPECT_EQ(estimated.warning, "Of A: One. Of B: Two.");
}

TEST(LogLikelihood, WrongArgumentsAreNamed) {
  const auto run = [](const at::Tensor& x, const at::Tensor& log_z, int64_t batch_size = 9) {
    return log_likelihood(first_column(), x, log_z, batch_size);
  };
  EXPECT_THROWS(run(data().slice(0, 0, 1), number(1)), c10::ValueError, "at least 2, got 1");
  EXPECT_THROWS(run(data(), at::zeros({4})), c10::ValueError, "log_z must have shape ()");
  EXPECT_THROWS(run(data(), number(NAN)), c10::ValueError, "log_z must be finite");
  EXPECT_THROWS(run(data(), number(1), 0), c10::ValueError, "batch_size must be at least 1");
  const Energy forbids([](const at::Tensor& x) { return at::full({x.size(0)}, INFINITY); });
  EXPECT_THROWS(compare_log_likelihoods(forbids, forbids, data(), number(1), number(1)),
                c10::ValueError, "both models forbid");
}

}  // namespace
}  // namespace torch_ebm::log_likelihood_test
