#include "torch_ebm/ais.h"

#include <ATen/Parallel.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::mean_is;
using testing::seeded;
using testing::state_counts;

RBM make_rbm(int64_t n_visible, int64_t n_hidden, at::ScalarType dtype = at::kDouble) {
  RBM rbm(n_visible, n_hidden);
  rbm->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(1);
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator, at::kDouble));
  }
  return rbm;
}

at::Tensor betas(int64_t n) { return at::linspace(0, 1, n, at::kDouble); }

double base_log_z(const at::Tensor& base, int64_t n_hidden) {
  return at::log1p(at::exp(base.to(at::kDouble))).sum().item<double>() +
         static_cast<double>(n_hidden) * std::log(2.0);
}

TEST(AIS, WeightsAreUnbiasedForZ) {
  // With few temperatures the weights vary much, and are still unbiased: E[w] = Z / Z_base.
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const RBM rbm = make_rbm(5, 4, dtype);
    for (const at::Tensor& base : {rbm->visible_bias.detach(), at::zeros({5}, dtype)}) {
      const auto [log_weights, states] =
          rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base, betas(4), 100000,
                  std::nullopt, std::nullopt, seeded(2));
      EXPECT_EQ(log_weights.scalar_type(), at::kDouble);
      const double log_ratio = rbm->log_z().item<double>() - base_log_z(base, 4);
      EXPECT_TRUE(mean_is(at::exp(log_weights - log_ratio), 1));
    }
  }
}

TEST(AIS, OneTemperatureIsImportanceSampling) {
  // K = 1: the state is an exact draw of the base, its weight is f(v) / f_base(v).
  const RBM rbm = make_rbm(3, 2);
  const at::Tensor base = at::zeros({3}, at::kDouble);
  const auto [log_weights, states] =
      rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base, betas(2), 50000, std::nullopt,
              std::nullopt, seeded(3));
  const at::Tensor v = all_states(3);
  const at::Tensor possible = -rbm->forward(v).detach() - 2 * std::log(2.0);
  const at::Tensor distance = (log_weights.unsqueeze(1) - possible).abs();
  EXPECT_LT(std::get<0>(distance.min(1)).max().item<double>(), 1e-10);
  EXPECT_TRUE(counts_fit(at::bincount(distance.argmin(1), {}, 8), at::ones({8})));
}

TEST(AIS, LastStatesOfManyTemperaturesFollowTheModel) {
  const RBM rbm = make_rbm(4, 3);
  const auto [log_weights, states] =
      rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, rbm->visible_bias, betas(200),
              10000, std::nullopt, std::nullopt, seeded(4));
  EXPECT_TRUE(
      counts_fit(state_counts(states), at::softmax(-rbm->forward(all_states(4)).detach(), 0)));
}

TEST(AIS, EstimatesLogZWithAnErrorThatCanBeBelieved) {
  const RBM rbm = make_rbm(12, 8);
  const double exact = rbm->log_z().item<double>();
  const LogZEstimate estimate = ais(rbm, std::nullopt, {.n_chains = 200, .generator = seeded(5)});
  EXPECT_LT(std::abs(estimate.log_z.item<double>() - exact),
            testing::kMaxZ * estimate.std_error.item<double>());
  EXPECT_LT(estimate.std_error.item<double>(), 0.05);
  EXPECT_LT(estimate.lower.item<double>(), estimate.log_z.item<double>());
  EXPECT_GT(estimate.upper.item<double>(), estimate.log_z.item<double>());
  EXPECT_GT(estimate.ess.item<double>(), 100);
  EXPECT_EQ(estimate.log_weights.size(0), 200);
}

TEST(AIS, IsExactWhereTheModelIsItsOwnBase) {
  RBM rbm(6, 4);
  rbm->weight.detach().zero_();
  const LogZEstimate estimate = ais(rbm, std::nullopt, {.n_chains = 5, .betas = betas(3)});
  EXPECT_NEAR(estimate.log_z.item<double>(), 10 * std::log(2.0), 1e-6);
  EXPECT_NEAR(estimate.ess.item<double>(), 5, 1e-6);
}

TEST(AIS, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const RBM rbm = make_rbm(100, 60, at::kFloat);
  const auto run = [&](int64_t n) {
    return std::get<1>(rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, rbm->visible_bias,
                               betas(5), n, std::nullopt, std::nullopt, seeded(6)));
  };
  testing::expect_same_for_any_threads_and_chains(run, 1500);
}

TEST(AIS, WrongArgumentsAreNamed) {
  const RBM rbm = make_rbm(3, 2);
  const auto run = [&](const at::Tensor& schedule, int64_t n_chains = 2) {
    return ais(rbm, std::nullopt, {.n_chains = n_chains, .betas = schedule});
  };
  EXPECT_THROWS(run(at::ones({1})), c10::ValueError, "at least two temperatures");
  EXPECT_THROWS(run(at::tensor({0.0, 0.5})), c10::ValueError, "must rise strictly from 0 to 1");
  EXPECT_THROWS(run(at::tensor({0.0, 0.5, 0.5, 1.0})), c10::ValueError, "must rise strictly");
  EXPECT_THROWS(run(betas(3), 1), c10::ValueError, "n_chains must be at least 2");
  EXPECT_THROWS(ais(rbm, at::zeros({4}, at::kDouble)), c10::ValueError,
                "base_visible_bias must have shape (V,) = (3,)");
  rbm->weight.detach()[0][0] = NAN;
  EXPECT_THROWS(run(betas(3)), c10::ValueError, "weight must be finite");
}

TEST(LogZFromWeights, IsTheDeltaMethod) {
  const at::Tensor log_weights = at::log(at::tensor({1.0, 2.0, 3.0, 6.0}, at::kDouble));
  const LogZEstimate estimate = log_z_from_weights(log_weights, at::full({}, 10.0));
  EXPECT_NEAR(estimate.log_z.item<double>(), 10 + std::log(3.0), 1e-12);
  const double error = std::sqrt(14.0 / 3 / 4) / 3;  // variance (4 + 1 + 0 + 9) / 3
  EXPECT_NEAR(estimate.std_error.item<double>(), error, 1e-12);
  EXPECT_NEAR(estimate.ess.item<double>(), 144.0 / 50, 1e-12);
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

}  // namespace
}  // namespace torch_ebm
