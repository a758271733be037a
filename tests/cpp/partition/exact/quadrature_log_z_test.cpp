#include "torch_ebm/partition/exact/quadrature_log_z.h"

#include <cmath>

#include "tests/cpp/testing.h"
#include "torch_ebm/partition/exact/gaussian_log_z.h"

namespace torch_ebm::quadrature_log_z_test {
namespace {

QuadratureLogZ integrate(const Energy& energy, std::vector<double> low, std::vector<double> high,
                         std::optional<int64_t> n_panels = std::nullopt) {
  return quadrature_log_z(energy, low, high, n_panels, at::kDouble);
}

TEST(QuadratureLogZ, OfAGaussianAgreesWithItsClosedForm) {
  for (int64_t d : {1, 2, 3}) {
    const at::Tensor precision = at::eye(d, at::kDouble) + 0.3;
    const Energy energy([&](const at::Tensor& x) {
      EXPECT_EQ(x.size(1), d);
      return 0.5 * (at::matmul(x, precision) * x).sum(1);
    });
    const auto result = integrate(energy, std::vector<double>(d, -9), std::vector<double>(d, 8),
                                  d == 3 ? std::optional<int64_t>(5) : std::nullopt);
    const double expected = gaussian_log_z(precision).item<double>();
    EXPECT_NEAR(result.log_z.item<double>(), expected, 1e-9);
    EXPECT_LE(std::abs(result.log_z.item<double>() - expected),
              result.error.item<double>() + 1e-12);
    EXPECT_LT(result.border.item<double>(), 1e-12);
  }
}

TEST(QuadratureLogZ, ASumOfSidesIsASumOfLogarithms) {
  // exp(-x) on [0, 2] and y^3 on [1, 3], which a low degree integrates exactly.
  const Energy energy(
      [](const at::Tensor& x) { return x.select(1, 0) - 3 * x.select(1, 1).log(); });
  const auto result = integrate(energy, {0, 1}, {2, 3}, 1);
  EXPECT_NEAR(result.log_z.item<double>(), std::log(-std::expm1(-2.0)) + std::log(20.0), 1e-13);
  EXPECT_NEAR(result.border.item<double>(), 1, 1e-12);
}

TEST(QuadratureLogZ, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.sum(1); });
  EXPECT_THROWS(integrate(energy, {}, {}), c10::ValueError, "low must have 1, 2 or 3 numbers");
  EXPECT_THROWS(integrate(energy, {0}, {1, 2}), c10::ValueError, "high must have as many numbers");
  EXPECT_THROWS(integrate(energy, {0}, {0}), c10::ValueError, "low must be below high");
  EXPECT_THROWS(integrate(energy, {0}, {1}, 0), c10::ValueError, "n_panels must be between 1 and");
  const Energy forbidden([](const at::Tensor& x) { return x.sum(1) + INFINITY; });
  EXPECT_THROWS(integrate(forbidden, {0}, {1}), c10::ValueError, "+inf at all points");
  const Energy bad([](const at::Tensor& x) { return x.sum(1) + NAN; });
  EXPECT_THROWS(integrate(bad, {0}, {1}), c10::ValueError, "NaN or -inf");
}

}  // namespace
}  // namespace torch_ebm::quadrature_log_z_test
