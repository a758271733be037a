#include "torch_ebm/models/rbm.h"

#include <ATen/Parallel.h>
#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::rbm_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::draw_states;
using testing::seeded;
using testing::state_counts;

RBM make_rbm(int64_t n_visible, int64_t n_hidden, uint64_t seed,
             at::ScalarType dtype = at::kDouble) {
  RBM rbm(n_visible, n_hidden);
  rbm->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(seed);
  // Multiples of 1/4: their sums are exact even in bfloat16.
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator).mul(4).round().div(4));
  }
  return rbm;
}

at::Tensor gibbs(const RBM& rbm, const at::Tensor& v, const RunOptions& run,
                 const std::optional<at::Tensor>& clamp = std::nullopt) {
  return std::get<0>(rbm_gibbs(v, rbm->weight, rbm->visible_bias, rbm->hidden_bias, run, clamp));
}

double naive_energy(const RBM& rbm, const at::Tensor& v, const at::Tensor& h) {
  double energy = 0;
  for (int64_t i = 0; i < v.size(0); ++i) {
    energy -= rbm->visible_bias[i].item<double>() * v[i].item<double>();
    for (int64_t j = 0; j < h.size(0); ++j) {
      energy -= v[i].item<double>() * rbm->weight[i][j].item<double>() * h[j].item<double>();
    }
  }
  for (int64_t j = 0; j < h.size(0); ++j) {
    energy -= rbm->hidden_bias[j].item<double>() * h[j].item<double>();
  }
  return energy;
}

/// E(v, h) of all pairs of states, (2^V, 2^H).
at::Tensor all_energies(const RBM& rbm) {
  const at::Tensor v = all_states(rbm->weight.size(0));
  const at::Tensor h = all_states(rbm->weight.size(1));
  at::Tensor energies = at::empty({v.size(0), h.size(0)}, at::kDouble);
  for (int64_t i = 0; i < v.size(0); ++i) {
    for (int64_t j = 0; j < h.size(0); ++j) energies[i][j] = naive_energy(rbm, v[i], h[j]);
  }
  return energies;
}

/// p(v) ~ sum_h exp(-beta E(v, h)).
at::Tensor visible_probabilities(const RBM& rbm, double beta = 1) {
  return at::softmax(at::logsumexp(-beta * all_energies(rbm), {1}), 0);
}

TEST(RBM, EnergiesAreThoseOfTheFormulas) {
  const RBM rbm = make_rbm(4, 3, 1);
  const at::Tensor expected = all_energies(rbm);
  const at::Tensor v = all_states(4);
  const at::Tensor h = all_states(3);
  for (int64_t j = 0; j < 8; ++j) {
    EXPECT_TRUE(close(rbm->energy(v, h[j].expand({16, 3})).detach(), expected.select(1, j), 1e-12));
  }
  EXPECT_TRUE(close(rbm->forward(v).detach(), -at::logsumexp(-expected, {1}), 1e-12));
  EXPECT_TRUE(close(rbm->log_z().detach(), at::logsumexp(-expected, {0, 1}), 1e-12));
}

TEST(RBM, ConditionalsAreThoseOfTheFormulas) {
  const RBM rbm = make_rbm(4, 3, 1);
  const at::Tensor joint = at::softmax((-all_energies(rbm)).flatten(), 0).view({16, 8});
  EXPECT_TRUE(close(rbm->hidden_given_visible(all_states(4)).detach(),
                    joint.matmul(all_states(3)) / joint.sum(1, true), 1e-12));
  EXPECT_TRUE(close(rbm->visible_given_hidden(all_states(3)).detach(),
                    joint.t().matmul(all_states(4)) / joint.sum(0).unsqueeze(1), 1e-12));
}

TEST(RBM, GradientOfLogZIsTheExpectationOfTheStates) {
  for (const auto& [n_visible, n_hidden] : {std::pair{4, 3}, std::pair{3, 5}}) {
    const RBM rbm = make_rbm(n_visible, n_hidden, 2);
    rbm->log_z().backward();
    const at::Tensor p = at::softmax((-all_energies(rbm)).flatten(), 0)
                             .view({int64_t{1} << n_visible, int64_t{1} << n_hidden});
    const at::Tensor v = all_states(n_visible);
    const at::Tensor h = all_states(n_hidden);
    EXPECT_TRUE(close(rbm->weight.grad(), v.t().matmul(p).matmul(h), 1e-10));
    EXPECT_TRUE(close(rbm->visible_bias.grad(), p.sum(1).matmul(v), 1e-10));
    EXPECT_TRUE(close(rbm->hidden_bias.grad(), p.sum(0).matmul(h), 1e-10));
  }
}

TEST(RBM, FreeEnergyIsExactWhereSoftplusIsUsuallyCut) {
  const at::Tensor zero = at::zeros({1}, at::kDouble);
  for (double a : {-800.0, -30.0, 19.0, 21.0, 30.0, 800.0}) {
    const at::Tensor value =
        rbm_free_energy(zero.view({1, 1}), zero.view({1, 1}), zero, at::full({1}, a, at::kDouble));
    EXPECT_DOUBLE_EQ(value.item<double>(),
                     -(std::max(a, 0.0) + std::log1p(std::exp(-std::abs(a)))));
  }
}

TEST(RBM, WrongArgumentsAreNamed) {
  const RBM rbm = make_rbm(4, 3, 1);
  const at::Tensor v = at::zeros({2, 4}, at::kDouble);
  EXPECT_THROWS(RBM(0, 3), c10::ValueError, "n_visible must be at least 1, got 0");
  EXPECT_THROWS(rbm->forward(at::zeros({2, 5}, at::kDouble)), c10::ValueError, "visible");
  EXPECT_THROWS(rbm->forward(at::zeros({4}, at::kDouble)), c10::ValueError, "got (4,)");
  EXPECT_THROWS(rbm->forward(at::zeros({2, 4})), c10::TypeError, "must have the dtype of weight");
  EXPECT_THROWS(rbm->energy(v, at::zeros({3, 3}, at::kDouble)), c10::ValueError,
                "same number of states, got 2 and 3");
  EXPECT_THROWS(rbm->hidden_given_visible(at::zeros({2, 5}, at::kDouble)), c10::ValueError,
                "visible");
  EXPECT_THROWS(gibbs(rbm, v + 0.5, {}), c10::ValueError, "zeros and ones only, got 0.5");
  EXPECT_THROWS(gibbs(rbm, v.slice(0, 0, 0), {}), c10::ValueError, "at least one chain");
  EXPECT_THROWS(gibbs(rbm, v, {.n_steps = 0}), c10::ValueError, "n_steps must be at least 1");
  EXPECT_THROWS(gibbs(rbm, v, {.beta = at::full({}, -1)}), c10::ValueError, "must not be negative");
  EXPECT_THROWS(gibbs(rbm, v, {.beta = at::full({}, INFINITY)}), c10::ValueError, "must be finite");
  EXPECT_THROWS(gibbs(rbm, v, {.beta = at::ones({3})}), c10::ValueError, "got (3,)");
  EXPECT_THROWS(gibbs(rbm, v, {}, at::ones({4})), c10::TypeError, "must be boolean");
  EXPECT_THROWS(gibbs(rbm, v, {}, at::ones({3}, at::kBool)), c10::ValueError, "got (3,)");
  {
    const torch::NoGradGuard no_grad;
    rbm->weight[3][2] = NAN;
  }
  EXPECT_THROWS(gibbs(rbm, v, {}), c10::ValueError, "weight must be finite, got 1 NaN");
}

TEST(RBM, OverflowingInputsAreNamed) {
  // 3e38 + 3e38 is infinite in float, and 0 times that is NaN.
  EXPECT_THROWS(rbm_gibbs(at::ones({1, 2}), at::full({2, 1}, 3e38), at::zeros({2}), at::zeros({1}),
                          {.beta = at::zeros({})}),
                c10::ValueError, "the weights are so large");
}

class RBMGibbs : public ::testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, RBMGibbs,
                         ::testing::Values(at::kFloat, at::kDouble, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST_P(RBMGibbs, LeavesTheModelInvariant) {
  const at::Tensor p = visible_probabilities(make_rbm(4, 3, 3));
  const at::Tensor start = draw_states(all_states(4, GetParam()), p, 40000, seeded(4));
  ASSERT_TRUE(counts_fit(state_counts(start), p));
  const RBM rbm = make_rbm(4, 3, 3, GetParam());
  const at::Tensor v = gibbs(rbm, start, {.n_steps = 3, .generator = seeded(5)});
  EXPECT_EQ(v.scalar_type(), GetParam());
  EXPECT_TRUE(counts_fit(state_counts(v), p));
}

TEST_P(RBMGibbs, ReachesTheModelFromOneState) {
  const at::Tensor v = gibbs(make_rbm(4, 3, 3, GetParam()), at::zeros({20000, 4}, GetParam()),
                             {.n_steps = 100, .generator = seeded(6)});
  EXPECT_TRUE(counts_fit(state_counts(v), visible_probabilities(make_rbm(4, 3, 3))));
}

TEST_P(RBMGibbs, CertainUnitsAreCertain) {
  const auto options = at::TensorOptions().dtype(GetParam());
  const at::Tensor zero = at::zeros({1}, options);
  const at::Tensor v = at::zeros({100000, 1}, options);
  for (double bias : {60., -60.}) {
    const at::Tensor visible_bias = at::full({1}, bias, options);
    const at::Tensor sampled =
        std::get<0>(rbm_gibbs(v, zero.view({1, 1}), visible_bias, zero, {.generator = seeded(1)}));
    EXPECT_TRUE(sampled.eq(bias > 0).all().item<bool>());
  }
}

TEST(RBM, HiddenStatesOfTheLastStepFollowTheModel) {
  const RBM rbm = make_rbm(4, 3, 3);
  const auto [v, h] = rbm_gibbs(at::zeros({20000, 4}, at::kDouble), rbm->weight, rbm->visible_bias,
                                rbm->hidden_bias, {.n_steps = 100, .generator = seeded(6)});
  EXPECT_TRUE(counts_fit(state_counts(h), at::softmax(at::logsumexp(-all_energies(rbm), {0}), 0)));
}

TEST(RBM, GibbsAtATemperatureOfEveryChain) {
  constexpr int64_t kChains = 20000;
  const RBM rbm = make_rbm(4, 3, 3);
  const at::Tensor beta = at::tensor({0.0, 0.5, 2.0}, at::kDouble).repeat({kChains});
  const at::Tensor v = gibbs(rbm, at::zeros({3 * kChains, 4}, at::kDouble),
                             {.n_steps = 100, .beta = beta, .generator = seeded(7)});
  for (int64_t i : {0, 1, 2}) {
    const double value = beta[i].item<double>();
    SCOPED_TRACE(value);
    EXPECT_TRUE(counts_fit(state_counts(v.slice(0, i, std::nullopt, 3)),
                           visible_probabilities(rbm, value)));
  }
  // One number for all of them is the same as as many equal ones.
  const at::Tensor few = at::zeros({10, 4}, at::kDouble);
  EXPECT_TRUE(at::equal(gibbs(rbm, few, {.beta = at::full({}, 0.5), .generator = seeded(8)}),
                        gibbs(rbm, few, {.beta = at::full({10}, 0.5), .generator = seeded(8)})));
}

TEST(RBM, ClampedUnitsStayAndTheOthersAreConditional) {
  const RBM rbm = make_rbm(4, 3, 3);
  const at::Tensor clamp = at::tensor({1, 0, 0, 0}).to(at::kBool);
  at::Tensor start = at::zeros({20000, 4}, at::kDouble);
  start.select(1, 0).fill_(1);
  const at::Tensor v = gibbs(rbm, start, {.n_steps = 100, .generator = seeded(9)}, clamp);
  EXPECT_TRUE(v.select(1, 0).eq(1).all().item<bool>());
  const at::Tensor p = visible_probabilities(rbm) * all_states(4).select(1, 0);
  EXPECT_TRUE(counts_fit(state_counts(v), p));
  // A mask for every chain.
  const at::Tensor mask = at::arange(20000).remainder(2).eq(0).unsqueeze(1).logical_and(clamp);
  const at::Tensor w = gibbs(rbm, start, {.n_steps = 100, .generator = seeded(9)}, mask);
  EXPECT_TRUE(counts_fit(state_counts(w.slice(0, 0, std::nullopt, 2)), p));
  EXPECT_TRUE(counts_fit(state_counts(w.slice(0, 1, std::nullopt, 2)), visible_probabilities(rbm)));
}

TEST(RBM, ChainsDoNotDependOnThreadsOrOnTheirNumber) {
  const RBM rbm = make_rbm(100, 50, 3, at::kFloat);
  const at::Tensor start = at::zeros({2000, 100});
  const auto sample = [&](int64_t n_chains) {
    return gibbs(rbm, start.slice(0, 0, n_chains), {.n_steps = 5, .generator = seeded(10)});
  };
  testing::expect_same_for_any_threads_and_chains(sample, 2000);
}

TEST(RBM, GibbsRepeatsWithItsGeneratorAndGoesOnWithIt) {
  const RBM rbm = make_rbm(20, 10, 3, at::kFloat);
  const at::Tensor start = at::zeros({50, 20});
  at::Generator generator = seeded(11);
  const at::Tensor first = gibbs(rbm, start, {.generator = generator});
  const at::Tensor second = gibbs(rbm, start, {.generator = generator});
  EXPECT_FALSE(at::equal(first, second));
  EXPECT_TRUE(at::equal(gibbs(rbm, start, {.generator = seeded(11)}), first));
  EXPECT_TRUE(start.eq(0).all().item<bool>());
  EXPECT_FALSE(first.requires_grad());
  at::manual_seed(1);
  const at::Tensor by_default = gibbs(rbm, start, {});
  at::manual_seed(1);
  EXPECT_TRUE(at::equal(gibbs(rbm, start, {}), by_default));
}

TEST(RBM, TakesTensorsOfAnyStrides) {
  const RBM rbm = make_rbm(6, 4, 3);
  const at::Tensor v = at::bernoulli(at::full({6, 8}, 0.5, at::kDouble), seeded(1)).t();
  ASSERT_FALSE(v.is_contiguous());
  const at::Tensor w = rbm->weight.detach().t().contiguous().t();
  const at::Tensor b = rbm->visible_bias.detach().repeat_interleave(2).slice(0, 0, 12, 2);
  EXPECT_TRUE(close(rbm_free_energy(v, w, b, rbm->hidden_bias).detach(),
                    rbm->forward(v.contiguous()).detach()));
  EXPECT_TRUE(at::equal(
      std::get<0>(rbm_gibbs(v, w, b, rbm->hidden_bias, {.n_steps = 3, .generator = seeded(2)})),
      gibbs(rbm, v.contiguous(), {.n_steps = 3, .generator = seeded(2)})));
}

TEST(RBM, StateDictHasTheNamesOfThePythonModule) {
  const RBM rbm = make_rbm(4, 3, 1);
  EXPECT_EQ(rbm->named_parameters().keys(),
            (std::vector<std::string>{"weight", "visible_bias", "hidden_bias"}));
  EXPECT_TRUE(rbm->named_buffers().is_empty());
}

TEST(RBM, SavesLoadsAndClones) {
  const RBM rbm = make_rbm(4, 3, 1, at::kFloat);
  std::stringstream stream;
  torch::save(rbm, stream);
  RBM loaded(4, 3);
  torch::load(loaded, stream);
  const auto copy = std::dynamic_pointer_cast<RBMImpl>(rbm->clone());
  ASSERT_TRUE(copy);
  const at::Tensor v = all_states(4, at::kFloat);
  EXPECT_TRUE(at::equal(loaded->forward(v), rbm->forward(v)));
  EXPECT_TRUE(at::equal(copy->forward(v), rbm->forward(v)));
  EXPECT_FALSE(copy->weight.is_same(rbm->weight));
  std::stringstream text;
  text << rbm;
  EXPECT_EQ(text.str(), "torch_ebm::RBM(n_visible=4, n_hidden=3)");
}

TEST(RBM, NoStatesHaveNoFlipDifferences) {
  const Energy energy(make_rbm(3, 2, 1));
  const at::Tensor none = at::zeros({0, 3}, at::kDouble);
  EXPECT_EQ(energy.flip_differences(none, std::nullopt)->sizes(), none.sizes());
  EXPECT_THROWS(energy.flip_differences(at::zeros({}, at::kDouble)), c10::ValueError,
                "x must have shape (N, ...), got ()");
  EXPECT_THROWS(energy.flip_differences(none, at::zeros({2, 1}, at::kLong)), c10::ValueError,
                "sites must have shape (N, m)");
}

TEST(RBM, BaseRateBias) {
  const at::Tensor data = at::tensor({1., 1., 0., 1., 0., 0.}, at::kDouble).view({3, 2});
  // (1 + 1) / 5 and (2 + 1) / 5 of the examples, with the two that the pseudocount adds.
  EXPECT_TRUE(close(base_rate_bias(data), at::logit(at::tensor({0.4, 0.6}, at::kDouble)), 1e-12));
  EXPECT_TRUE(
      close(base_rate_bias(data, 0.5), at::logit(at::tensor({0.375, 0.625}, at::kDouble)), 1e-12));
  EXPECT_THROWS(base_rate_bias(data, 0), c10::ValueError, "pseudocount must be > 0");
  EXPECT_THROWS(base_rate_bias(data * 2), c10::ValueError, "zeros and ones only");
}

TEST(RBM, IsMadeFromTensors) {
  const at::Tensor weight = at::randn({4, 3}, at::kDouble);
  const at::Tensor b = at::randn({4}, at::kDouble), c = at::randn({3}, at::kDouble);
  const RBM rbm(weight, b, c);
  const at::Tensor v = at::ones({2, 4}, at::kDouble);
  EXPECT_TRUE(at::equal(rbm->forward(v), rbm_free_energy(v, weight, b, c)));
  EXPECT_TRUE(rbm->weight.requires_grad());
  EXPECT_THROWS(RBM(weight, c, b), c10::ValueError, "visible_bias must have shape");
}

}  // namespace
}  // namespace torch_ebm::rbm_test
