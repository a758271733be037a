#include "torch_ebm/partition/bridging/tempered_log_z.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/bridging/mbar.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::tempered_log_z_test {
namespace {

using testing::seeded;

RBM make_rbm() {
  RBM rbm(5, 3);
  rbm->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(1);
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator, at::kDouble));
  }
  return rbm;
}

const at::Tensor& betas() {
  static const at::Tensor values = at::tensor({1.0, 0.5, 0.0}, at::kDouble);
  return values;
}

TEST(TemperedLogZ, EveryMethodFindsTheExactValueWithinItsError) {
  const RBM rbm = make_rbm();
  const double exact = rbm->log_z().item<double>();
  for (const char* method : {"mbar", "bridge", "thermodynamic_integration"}) {
    const LogZEstimate estimate = tempered_log_z(
        Energy(rbm), at::zeros({3, 20, 5}, at::kDouble), betas(), bind_sampler(gibbs),
        {.n_steps = 200, .n_burn_in = 20, .generator = seeded(2)},
        {.log_z_base = 8 * std::log(2.0), .method = method});
    const double width = (estimate.upper - estimate.lower).item<double>();
    EXPECT_LT(std::abs(estimate.log_z.item<double>() - exact), 1.5 * width) << method;
    EXPECT_LT(width, 0.3) << method;
    EXPECT_TRUE(estimate.warning.empty()) << estimate.warning;
  }
}

TEST(TemperedLogZ, EnergiesAreThoseOfTheLastStates) {
  const Energy energy(make_rbm());
  const LadderEnergies run =
      ladder_energies(energy, at::zeros({3, 4, 5}, at::kDouble), betas(), bind_sampler(gibbs),
                      {.n_steps = 6, .n_burn_in = 1, .generator = seeded(3)});
  EXPECT_EQ(run.energies.sizes(), (std::vector<int64_t>{3, 3, 6, 4}));
  for (int64_t at = 0; at < 3; ++at) {
    for (int64_t of = 0; of < 3; ++of) {
      EXPECT_TRUE(testing::close(run.energies[at][of][5], energy.value(run.x[of], betas()[at])));
    }
  }
}

TEST(TemperedLogZ, WrongArgumentsAreNamed) {
  const Energy energy(make_rbm());
  const auto run = [&](int64_t n_ladders, const char* method) {
    tempered_log_z(energy, at::zeros({3, n_ladders, 5}, at::kDouble), betas(), bind_sampler(gibbs),
                   {.n_steps = 2}, {.method = method});
  };
  EXPECT_THROWS(run(1, "mbar"), c10::ValueError, "N >= 2");
  EXPECT_THROWS(run(2, "magic"), c10::ValueError, "got 'magic'");
}

}  // namespace
}  // namespace torch_ebm::tempered_log_z_test
