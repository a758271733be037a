#include "torch_ebm/partition/bridging/thermodynamic_integration.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::thermodynamic_integration_test {
namespace {

using testing::seeded;

TEST(ThermodynamicIntegration, OfNormalLawsIsKnown) {
  // E_beta = (1 + 3 beta) x^2 / 2: log Z(1) / Z(0) = -log(4) / 2.
  const at::Tensor betas = at::linspace(0, 1, 17, at::kDouble);
  const at::Tensor noise = at::randn({17, 20, 100}, seeded(1), at::kDouble);
  const at::Tensor u = 1.5 * noise.square() / (1 + 3 * betas).view({17, 1, 1});
  for (const at::Tensor& derivatives : {u, u.flatten(1)}) {
    const LogZEstimate estimate = thermodynamic_integration(betas, derivatives);
    EXPECT_LT(std::abs(estimate.log_z.item<double>() + std::log(4.0) / 2),
              testing::kMaxZ * estimate.std_error.item<double>());
    EXPECT_LT(estimate.std_error.item<double>(), 0.02);
    EXPECT_TRUE(estimate.warning.empty());
    EXPECT_TRUE(at::equal(estimate.betas, betas));
  }
}

TEST(ThermodynamicIntegration, IsExactForAnIntegrandThatDoesNotChange) {
  const LogZEstimate estimate =
      thermodynamic_integration(at::tensor({0.0, 0.5, 2.0}), at::full({3, 4}, 1.5));
  EXPECT_NEAR(estimate.log_z.item<double>(), -3, 1e-12);
  EXPECT_NEAR(estimate.upper.item<double>(), -3, 1e-12);
}

TEST(ThermodynamicIntegration, WrongArgumentsAreNamed) {
  EXPECT_THROWS(thermodynamic_integration(at::zeros({2}), at::zeros({2, 3})), c10::ValueError,
                "strictly monotone");
  EXPECT_THROWS(thermodynamic_integration(at::tensor({0.0, 1.0}), at::zeros({3, 3})),
                c10::ValueError, "R = 2, got (3, 3)");
}

}  // namespace
}  // namespace torch_ebm::thermodynamic_integration_test
