#include "torch_ebm/samplers/gibbs.h"

#include <torch/csrc/jit/api/module.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::gibbs_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::draw_states;
using testing::seeded;
using testing::state_counts;

/// An energy of four units that couples all of them, as a table.
class Table {
 public:
  Table() : energies_(at::randn({16}, seeded(42), at::kDouble)) {}
  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor rows = x.reshape({x.size(0), 4}).to(at::kLong);
    return energies_.index_select(0, (rows * at::tensor({1, 2, 4, 8})).sum(1)).to(x.dtype());
  }
  at::Tensor probabilities(double beta = 1) const { return at::softmax(-beta * energies_, 0); }
  at::Tensor& energies() { return energies_; }

 private:
  at::Tensor energies_;
};

class GibbsOfDtype : public ::testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, GibbsOfDtype, ::testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST_P(GibbsOfDtype, LeavesTheModelInvariant) {
  const Table table;
  const at::Tensor p = table.probabilities();
  const at::Tensor start = draw_states(all_states(4, GetParam()), p, 40000, seeded(1));
  ASSERT_TRUE(counts_fit(state_counts(start), p));
  const at::Tensor x = gibbs(Energy(table), start, {.n_steps = 2, .generator = seeded(2)}).x;
  EXPECT_EQ(x.scalar_type(), GetParam());
  EXPECT_TRUE(counts_fit(state_counts(x), p));
}

TEST_P(GibbsOfDtype, ReachesTheModelFromOneState) {
  const Table table;
  const at::Tensor x = gibbs(Energy(table), at::zeros({20000, 2, 2}, GetParam()),
                             {.n_steps = 60, .generator = seeded(3)})
                           .x;
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{20000, 2, 2}));
  EXPECT_TRUE(counts_fit(state_counts(x), table.probabilities()));
}

TEST(Gibbs, OneSweepVisitsTheSitesInOrder) {
  // The exact law of one sweep from one state: the product of the four conditional kernels.
  Table table;
  at::Tensor law = at::zeros({16}, at::kDouble);
  law[5] = 1;
  const at::Tensor weights = at::exp(-table.energies());
  for (int64_t site = 0; site < 4; ++site) {
    at::Tensor next = at::zeros({16}, at::kDouble);
    for (int64_t state = 0; state < 16; ++state) {
      const int64_t flipped = state ^ (1 << site);
      next[state] =
          (law[state] + law[flipped]) * weights[state] / (weights[state] + weights[flipped]);
    }
    law = next;
  }
  const at::Tensor start = at::tensor({1., 0., 1., 0.}, at::kDouble).expand({40000, 4});
  const at::Tensor x = gibbs(Energy(table), start, {.generator = seeded(4)}).x;
  EXPECT_TRUE(counts_fit(state_counts(x), law));
}

TEST(Gibbs, AtATemperatureOfEveryChain) {
  const Table table;
  const at::Tensor beta = at::tensor({0.0, 2.0}).repeat({20000});
  const at::Tensor x = gibbs(Energy(table), at::zeros({40000, 4}, at::kDouble),
                             {.n_steps = 100, .beta = beta, .generator = seeded(5)})
                           .x;
  EXPECT_TRUE(counts_fit(state_counts(x.slice(0, 0, std::nullopt, 2)), table.probabilities(0)));
  EXPECT_TRUE(counts_fit(state_counts(x.slice(0, 1, std::nullopt, 2)), table.probabilities(2)));
}

TEST(Gibbs, ClampedUnitsStayAndTheOthersAreConditional) {
  const Table table;
  const at::Tensor clamp = at::tensor({0, 0, 1, 0}).to(at::kBool);
  at::Tensor start = at::zeros({20000, 4}, at::kDouble);
  start.select(1, 2).fill_(1);
  const at::Tensor x =
      gibbs(Energy(table), start, {.n_steps = 60, .generator = seeded(6)}, {.clamp = clamp}).x;
  EXPECT_TRUE(counts_fit(state_counts(x), table.probabilities() * all_states(4).select(1, 2)));
}

TEST(Gibbs, NeverEntersAForbiddenState) {
  Table table;
  for (int64_t state : {3, 7, 9}) table.energies()[state] = INFINITY;
  const at::Tensor x = gibbs(Energy(table), at::zeros({20000, 4}, at::kDouble),
                             {.n_steps = 100, .generator = seeded(7)})
                           .x;
  EXPECT_TRUE(counts_fit(state_counts(x), table.probabilities()));
}

TEST(Gibbs, BadEnergiesAreNamed) {
  const at::Tensor x = at::zeros({5, 3});
  const auto bad_where = [](double value) {
    return Energy([value](const at::Tensor& y) {
      at::Tensor energies = y.sum(1);
      // Chain 3, once its site 1 is up.
      if (y[3][1].item<double>() == 1) energies[3] = value;
      return energies;
    });
  };
  EXPECT_THROWS(gibbs(bad_where(NAN), x).x, c10::ValueError,
                "the energy of chain 3 is nan at step 0, site 1");
  EXPECT_THROWS(gibbs(bad_where(-INFINITY), x).x, c10::ValueError, "the energy of chain 3 is -inf");
  EXPECT_NO_THROW(gibbs(bad_where(INFINITY), x).x);
}

TEST(Gibbs, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& y) { return y.sum(1); });
  const at::Tensor x = at::zeros({2, 3});
  EXPECT_THROWS(gibbs(energy, x.to(at::kLong)).x, c10::TypeError, "x must have a floating dtype");
  EXPECT_THROWS(gibbs(energy, x + 2).x, c10::ValueError, "zeros and ones only, got 2");
  EXPECT_THROWS(gibbs(energy, at::zeros({0, 3})).x, c10::ValueError, "at least one chain");
  EXPECT_THROWS(gibbs(energy, at::zeros({})).x, c10::ValueError, "got ()");
  EXPECT_THROWS(gibbs(energy, x, {.n_steps = -1}).x, c10::ValueError, "n_steps must be at least 1");
  EXPECT_THROWS(gibbs(energy, x, {.beta = at::ones({2, 1})}).x, c10::ValueError, "got (2, 1)");
  EXPECT_THROWS(gibbs(energy, x, {}, {.clamp = at::ones({2}, at::kBool)}).x, c10::ValueError,
                "clamp");
}

TEST(Gibbs, RepeatsWithItsGeneratorWhateverTheNumberOfChains) {
  const Table table;
  const at::Tensor start = at::zeros({100, 4});
  const auto sample = [&](int64_t n) {
    return gibbs(Energy(table), start.slice(0, 0, n), {.n_steps = 5, .generator = seeded(8)}).x;
  };
  const at::Tensor x = sample(100);
  EXPECT_TRUE(at::equal(sample(100), x));
  EXPECT_TRUE(at::equal(sample(3), x.slice(0, 0, 3)));
  EXPECT_TRUE(start.eq(0).all().item<bool>());
}

TEST(Gibbs, TakesTheSamplerOfTheEnergy) {
  RBM rbm(4, 3);
  rbm->weight.detach().normal_(0, 1, seeded(1));
  const at::Tensor start = at::zeros({50, 4});
  EXPECT_TRUE(
      at::equal(gibbs(Energy(rbm), start, {.n_steps = 3, .generator = seeded(9)}).x,
                std::get<0>(rbm_gibbs(start, rbm->weight, rbm->visible_bias, rbm->hidden_bias,
                                      {.n_steps = 3, .generator = seeded(9)}))));
}

TEST(Gibbs, EnergiesAreAskedWithoutGradient) {
  const at::Tensor w = at::ones({3}).requires_grad_();
  const Energy energy([&](const at::Tensor& y) {
    EXPECT_FALSE(at::GradMode::is_enabled());
    return at::matmul(y, w);
  });
  EXPECT_FALSE(gibbs(energy, at::zeros({2, 3}), {.n_steps = 2}).x.requires_grad());
  EXPECT_FALSE(w.grad().defined());
}

}  // namespace
}  // namespace torch_ebm::gibbs_test
