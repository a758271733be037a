#include "torch_ebm/samplers/gibbs_with_gradients.h"

#include "tests/cpp/discrete_models.h"

namespace torch_ebm::gibbs_with_gradients_test {
namespace {

using testing::all_one_hot;
using testing::all_states;
using testing::CurvedEnergy;
using testing::expect_kernel;
using testing::metropolis_hastings;
using testing::seeded;

/// q(x' | x) ~ exp(score . (x' - x) / 2) for the x' that differ from x in one site; sites of `width` numbers.
at::Tensor proposal_of(const at::Tensor& states, const at::Tensor& score, int64_t width) {
  const at::Tensor x = states.reshape({states.size(0), -1});
  const at::Tensor change = x - x.unsqueeze(1);  // [from][to]
  const at::Tensor sites_changed =
      change.reshape({x.size(0), x.size(0), -1, width}).ne(0).any(3).sum(2);
  const at::Tensor estimate = change.matmul(score.reshape({x.size(0), -1, 1})).squeeze(2);
  const at::Tensor weights = at::exp(estimate / 2) * sites_changed.eq(1);
  return weights / weights.sum(1, true);
}

TEST(GibbsWithGradients, TwoStepsOfBinarySites) {
  const CurvedEnergy energy(4);
  const at::Tensor states = all_states(4);
  const at::Tensor kernel =
      metropolis_hastings(proposal_of(states, energy.score(states), 1), energy(states));
  expect_kernel(
      [&](const at::Tensor& x) {
        return gibbs_with_gradients(Energy(energy), x, {.n_steps = 2, .generator = seeded(1)}).x;
      },
      states, kernel.matmul(kernel), 8000);
}

TEST(GibbsWithGradients, EveryRowOfTheKernelOfCategoricalSitesAtATemperature) {
  const CurvedEnergy energy(6);
  const at::Tensor states = all_one_hot(2, 3), beta = at::full({}, 0.5);
  expect_kernel(
      [&](const at::Tensor& x) {
        return gibbs_with_gradients(Energy(energy), x, {.beta = beta, .generator = seeded(2)},
                                    {.categorical = true})
            .x;
      },
      states,
      metropolis_hastings(proposal_of(states, energy.score(states) / 2, 3), energy(states) / 2),
      8000);
}

TEST(GibbsWithGradients, RejectsProposalsWithoutAFiniteScore) {
  for (bool categorical : {false, true}) {
    const auto sample = [&](const Energy& energy, const at::Tensor& x) {
      return gibbs_with_gradients(energy, x, {.n_steps = 20, .generator = seeded(3)}, {categorical})
          .x;
    };
    const at::Tensor off = at::zeros({200, 3});
    testing::expect_no_way_over_the_cliff(sample, categorical ? at::stack({1 - off, off}, 2) : off);
  }
}

/// An energy whose own sampler sets the first unit.
class OwnSampler : public EnergyFunction {
 public:
  at::Tensor value(const at::Tensor& x) const override { return x.sum(1); }
  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const override {
    at::Tensor next = x.clone();
    next.select(1, 0).fill_(1);
    return std::tuple(next, at::full({x.size(0)}, 1. / static_cast<double>(run.n_steps)));
  }
};

TEST(GibbsWithGradients, TakesTheSamplerOfTheEnergy) {
  const Energy energy(std::make_shared<OwnSampler>());
  const at::Tensor start = at::zeros({5, 2});
  const Samples samples = gibbs_with_gradients(energy, start, {.n_steps = 4});
  EXPECT_TRUE(samples.x.eq(at::tensor({1., 0.})).all().item<bool>());
  EXPECT_TRUE(samples.acceptance_rate.eq(0.25).all().item<bool>());
  const Samples kept = gibbs_with_gradients(energy, start, {.n_steps = 4, .thin = 2});
  EXPECT_EQ(kept.trajectory.size(0), 2);
  EXPECT_TRUE(kept.acceptance_rate.eq(1).all().item<bool>());
}

TEST(GibbsWithGradients, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.reshape({x.size(0), -1}).sum(1); });
  const auto sample = [&](const at::Tensor& x, bool categorical = false) {
    return gibbs_with_gradients(energy, x, {}, {.categorical = categorical});
  };
  EXPECT_THROWS(sample(at::zeros({2, 3}, at::kLong)), c10::TypeError, "floating");
  EXPECT_THROWS(sample(at::zeros({0, 3})), c10::ValueError, "at least one chain");
  EXPECT_THROWS(sample(at::full({2, 3}, 0.5)), c10::ValueError, "zeros and ones");
  EXPECT_THROWS(sample(at::zeros({2, 3}), true), c10::ValueError, "must be one-hot");
  EXPECT_THROWS(sample(at::ones({2, 3, 1}), true), c10::ValueError, "K >= 2");
}

TEST(GibbsWithGradients, ThreadsAndOtherChainsChangeNothing) {
  const CurvedEnergy energy(4);
  testing::expect_same_for_any_threads_and_chains(
      [&](int64_t n) {
        return gibbs_with_gradients(Energy(energy), at::zeros({n, 4}),
                                    {.n_steps = 5, .generator = seeded(5)})
            .x;
      },
      100);
}

}  // namespace
}  // namespace torch_ebm::gibbs_with_gradients_test
