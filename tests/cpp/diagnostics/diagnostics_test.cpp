#include "torch_ebm/diagnostics/diagnostics.h"

#include <cmath>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::diagnostics_test {
namespace {

using testing::close;
using testing::mean_is;
using testing::seeded;

at::Tensor numbers(std::initializer_list<double> values) {
  return at::tensor(at::ArrayRef<double>(values), at::kDouble);
}

/// Two quantities of three chains in 41 draws, between 0 and 22, with ties.
at::Tensor integers() {
  const at::Tensor t = at::arange(41).view({-1, 1, 1});
  const at::Tensor c = at::arange(3).view({1, -1, 1});
  const at::Tensor q = at::arange(2);
  const auto quotient = [&](const at::Tensor& divisor) { return at::div(t, divisor, "floor"); };
  const at::Tensor values =
      7 * quotient(at::full({}, 3, at::kLong)).square() + (3 * c + 1) * quotient(q + 1) + 5 * c;
  return values.remainder(23).to(at::kDouble);
}

TEST(Diagnostics, AreThoseOfArviZ) {
  // From arviz-stats 0.8.
  const at::Tensor x = integers();
  EXPECT_TRUE(close(r_hat(x), numbers({1.02589659789464, 1.01772943003614}), 1e-12, 0));
  EXPECT_TRUE(close(ess_bulk(x), numbers({110.134535816364, 73.0827600773008}), 1e-12, 0));
  EXPECT_TRUE(close(ess_tail(x), numbers({115.617681764546, 73.6629960523582}), 1e-12, 0));
  EXPECT_TRUE(close(ess_mean(x), numbers({106.784476257506, 75.6091626177831}), 1e-12, 0));
  EXPECT_TRUE(close(mcse_mean(x), numbers({0.614831171240081, 0.780689415323805}), 1e-12, 0));
  EXPECT_TRUE(close(r_hat(x.to(at::kFloat)), r_hat(x)));
}

TEST(Diagnostics, TheAutocorrelationTimeIsThatOfTheMean) {
  const at::Tensor x = integers();
  EXPECT_TRUE(close(autocorrelation_time(x), 41 * 3 / ess_mean(x), 1e-14));
  EXPECT_TRUE(close(mcse_mean(x), x.flatten(0, 1).std(0) / ess_mean(x).sqrt(), 1e-14));
}

TEST(Diagnostics, AutocorrelationsAreThoseOfTheDefinition) {
  const at::Tensor x = integers();
  const at::Tensor centred = x - x.mean(0);
  const at::Tensor variance = centred.square().mean({0, 1});
  const at::Tensor total = variance + x.mean(0).var(0);
  const at::Tensor rho = autocorrelation(x);
  EXPECT_EQ(rho.sizes(), (at::IntArrayRef{41, 2}));
  for (int64_t lag = 1; lag < 41; ++lag) {
    const at::Tensor covariance =
        (centred.narrow(0, lag, 41 - lag) * centred.narrow(0, 0, 41 - lag)).sum(0).mean(0) / 41;
    EXPECT_TRUE(close(rho[lag], 1 - (variance * 41 / 40 - covariance) / total, 1e-10, 1e-12));
  }
}

TEST(Diagnostics, IndependentDrawsCountFully) {
  const at::Tensor x = at::randn({200, 4, 500}, seeded(1), at::kDouble);
  EXPECT_TRUE(mean_is(x.mean({0, 1}) / mcse_mean(x), 0));
  EXPECT_NEAR(ess_bulk(x).mean().item<double>(), 800, 40);
  EXPECT_NEAR(r_hat(x).mean().item<double>(), 1, 0.01);
}

TEST(Diagnostics, SpecialChains) {
  const at::Tensor constant = at::full({10, 3}, 0.1);
  EXPECT_TRUE(std::isnan(r_hat(constant).item<double>()));
  EXPECT_EQ(ess_bulk(constant).item<double>(), 30);
  EXPECT_TRUE(std::isnan(r_hat(at::randn({10, 1}, seeded(2))).item<double>()));
  const at::Tensor stuck = at::tensor({0.1, 0.3, 0.7}, at::kDouble).repeat({10, 1});
  EXPECT_TRUE(std::isinf(r_hat(stuck).item<double>()));
}

TEST(Diagnostics, RoundTrips) {
  // Replica 0 goes to the top and back; replica 1 starts at the top and has one trip after its first visit
  // to the bottom; replica 2 stays in the middle or waits at the ends.
  const at::Tensor trace =
      at::tensor({0, 2, 1, 1, 2, 0, 2, 0, 1, 1, 2, 0, 0, 2, 1, 1, 0, 2}, at::kLong);
  EXPECT_TRUE(at::equal(round_trips(trace.view({6, 3, 1})), at::tensor({2}, at::kLong)));
  const at::Tensor doubled = trace.view({6, 3, 1}).repeat({1, 1, 2});
  EXPECT_TRUE(at::equal(round_trips(doubled), at::tensor({2, 2}, at::kLong)));
}

TEST(Diagnostics, WrongArgumentsAreNamed) {
  EXPECT_THROWS(r_hat(at::ones({3, 2})), c10::ValueError, "r_hat: n_draws must be at least 4");
  EXPECT_THROWS(ess_bulk(at::ones({9})), c10::ValueError,
                "must have shape (n_draws, n_chains, ...)");
  EXPECT_THROWS(ess_tail(at::ones({9, 0})), c10::ValueError, "at least one chain");
  EXPECT_THROWS(ess_mean(at::full({9, 1}, NAN)), c10::ValueError, "must be finite, got 9 NaN");
  EXPECT_THROWS(mcse_mean(at::ones({9, 2}, at::kLong)), c10::TypeError, "floating dtype");
  EXPECT_THROWS(round_trips(at::zeros({3, 2, 1}, at::kLong)), c10::ValueError,
                "one replica at each");
}

}  // namespace
}  // namespace torch_ebm::diagnostics_test
