#include "torch_ebm/testing/testing.h"

#include <gtest/gtest.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/langevin.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::testing_test {
namespace {

using namespace testing;  // NOLINT: the checks are what this file is about

constexpr double kHopeless = 1e-9;

RBM make_rbm() {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  rbm->weight.normal_(0, 2, seeded(1));
  rbm->visible_bias.normal_(0, 0.5, seeded(2));
  rbm->hidden_bias.normal_(0, 0.5, seeded(3));
  return rbm;
}

/// The same energy without a Gibbs sampler of its own.
Energy plain(const RBM& rbm) {
  return Energy([rbm](const at::Tensor& x) { return rbm->forward(x); });
}

Samples stay(const Energy&, const at::Tensor& x, const RunOptions&) { return {.x = x}; }

Samples too_warm(const Energy& energy, const at::Tensor& x, const RunOptions& run) {
  RunOptions warm = run;
  warm.beta = at::full({}, 0.6);
  return gibbs(energy, x, warm);
}

TEST(Testing, ChiSquareAgreesWithItsTable) {
  // The 5% point of chi-square with one degree of freedom is 3.8415.
  const double excess = 0.5 * std::sqrt(1000 * 3.841459);
  EXPECT_NEAR(
      testing::chi_square_check(at::tensor({500 + excess, 500 - excess}), at::ones({2})).p_value,
      0.05, 1e-4);
  EXPECT_EQ(testing::chi_square_check(at::tensor({1, 99}), at::tensor({0.0, 1.0})).p_value, 0);
  EXPECT_THROWS(testing::chi_square_check(at::tensor({1, 1}), at::ones({2})), c10::ValueError,
                "chi_square_check: counts: too few counts, 2");
  EXPECT_EQ(testing::mean_check(at::full({9}, NAN), 0).p_value, 0);
  EXPECT_EQ(testing::mean_check(at::zeros({9}), 0).p_value, 1);
}

TEST(Testing, InvarianceAndConvergenceTellRightSamplersFromWrong) {
  const RBM rbm = make_rbm();
  const at::Tensor states = testing::enumerate_states({4});
  const Sampler right = bind_sampler(gibbs);
  EXPECT_TRUE(passes(check_invariance(right, plain(rbm), states)));
  EXPECT_TRUE(passes(check_invariance(right, plain(rbm), states, {.beta = 0.5})));
  EXPECT_TRUE(passes(check_invariance(stay, plain(rbm), states)));
  EXPECT_LT(check_invariance(too_warm, plain(rbm), states).p_value, kHopeless);
  EXPECT_TRUE(passes(check_convergence(right, plain(rbm), states)));
  EXPECT_LT(check_convergence(stay, plain(rbm), states).p_value, kHopeless);
}

TEST(Testing, OneHotStatesAndTransitionMatricesAreCheckedToo) {
  const at::Tensor states = testing::enumerate_states({2}, at::kDouble, 3);
  EXPECT_EQ(states.sizes(), at::IntArrayRef({9, 2, 3}));
  const Energy energy([](const at::Tensor& x) { return x.select(2, 1).sum(1); });
  const Sampler right = bind_sampler(gibbs, {}, {.categorical = true});
  EXPECT_TRUE(passes(check_invariance(right, energy, states)));
  // Sites are independent: a sweep forgets where it came from.
  const at::Tensor counts = transition_counts(right, energy, states);
  const at::Tensor law = testing::exact_law(energy, states);
  EXPECT_TRUE(passes(check_transitions(counts, law.repeat({9, 1}))));
  EXPECT_LT(check_transitions(counts, at::ones({9, 9})).p_value, kHopeless);
}

TEST(Testing, ConvergenceStartsWhereItIsTold) {
  const RBM rbm = make_rbm();
  const at::Tensor states = testing::enumerate_states({4});
  at::Tensor first;
  const auto remember = [&](const Energy&, const at::Tensor& x, const RunOptions&) {
    first = x[0].clone();
    return Samples{.x = x};
  };
  check_convergence(remember, Energy(rbm), states, {.n_calls = 1, .start = -2});
  EXPECT_TRUE(at::equal(first, states[14]));
  EXPECT_THROWS(check_convergence(stay, Energy(rbm), states, {.start = 16}), c10::ValueError,
                "check_convergence: start must be the number of one of 16 states, got 16");
}

TEST(Testing, StatisticsAreThoseThatAreGiven) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  const at::Tensor exact = at::randn({5000, 2}, seeded(4), at::kDouble);
  const auto wider = [](const Energy&, const at::Tensor& x, const RunOptions&) {
    return Samples{.x = 1.1 * x};
  };
  const auto signs = [](const at::Tensor& x) { return x.sign(); };
  EXPECT_TRUE(passes(check_keeps_law(wider, energy, exact, {.n_calls = 1}, signs)));
  EXPECT_LT(check_keeps_law(wider, energy, exact).p_value, kHopeless);
}

TEST(Testing, DetailedBalanceTellsASweepFromAReversibleSampler) {
  const RBM rbm = make_rbm();
  const at::Tensor states = testing::enumerate_states({4});
  const at::Tensor law = testing::exact_law(Energy(rbm), states);
  const auto balance = [&](const Energy& energy) {
    return check_detailed_balance(transition_counts(bind_sampler(gibbs), energy, states), law);
  };
  EXPECT_TRUE(passes(balance(Energy(rbm))));  // its own: hidden given visible, and back
  EXPECT_LT(balance(plain(rbm)).p_value, kHopeless);
}

/// One swap of two replicas, by differences of `energy_at(x, beta)`.
template <typename EnergyAt>
testing::Exchange swap_by(EnergyAt energy_at) {
  return [energy_at](const Energy&, const at::Tensor& x, const at::Generator& generator) {
    const at::Tensor log_ratio =
        energy_at(x[0], 1.0) + energy_at(x[1], 0.3) - energy_at(x[1], 1.0) - energy_at(x[0], 0.3);
    const at::Tensor swap = at::rand(log_ratio.sizes(), generator).lt(log_ratio.detach().exp());
    return at::where(swap.view({1, -1, 1}), x.flip(0), x);
  };
}

TEST(Testing, TheSwapRuleOfAnRBMIsThatOfItsTemperedJointEnergy) {
  const RBM rbm = make_rbm();
  const Energy energy(rbm);
  const at::Tensor states = testing::enumerate_states({4});
  const auto right = swap_by([&](const at::Tensor& x, double beta) {
    return energy.value(x, at::full({}, beta, at::kDouble)).to(at::kDouble);
  });
  const auto wrong =
      swap_by([&](const at::Tensor& x, double beta) { return beta * energy.value(x); });
  EXPECT_TRUE(passes(check_swap_rule(right, energy, states, {1.0, 0.3})));
  EXPECT_LT(check_swap_rule(wrong, energy, states, {1.0, 0.3}, {.n_chains = 200000}).p_value,
            kHopeless);
}

TEST(Testing, KeptLawsSeeABiasedSampler) {
  const Energy energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
  const at::Tensor exact = at::randn({20000, 2}, seeded(4), at::kDouble);
  const MALAOptions options{.step_size = 0.5};
  EXPECT_TRUE(passes(check_keeps_law(bind_sampler(mala, {}, options), energy, exact)));
  EXPECT_LT(check_keeps_law(bind_sampler(langevin, {}, {.step_size = 0.5}), energy, exact).p_value,
            kHopeless);
}

TEST(Testing, GradientsAtTheTruthSeeARegulariser) {
  const at::Tensor precision = at::ones({}, at::kDouble).requires_grad_();
  const at::Generator generator = seeded(5);
  const auto loss = [&](double weight) {
    const at::Tensor x = at::randn({2, 300}, generator, at::kDouble).square().mean(1);
    return precision * (x[0] - x[1]) / 2 + weight * precision.square();
  };
  EXPECT_TRUE(passes(check_gradient_vanishes([&] { return loss(0); }, {precision})));
  EXPECT_LT(check_gradient_vanishes([&] { return loss(0.1); }, {precision}).p_value, kHopeless);
}

}  // namespace
}  // namespace torch_ebm::testing_test
