#include "torch_ebm/samplers/discrete_langevin.h"

#include "tests/cpp/discrete_models.h"

namespace torch_ebm::discrete_langevin_test {
namespace {

using testing::all_one_hot;
using testing::all_states;
using testing::CurvedEnergy;
using testing::expect_kernel;
using testing::metropolis_hastings;
using testing::seeded;

/// q(x' | x) ~ exp(score . (x' - x) / 2 - |x' - x|^2 / (2 step_size)) over all states x'.
at::Tensor proposal_of(const at::Tensor& states, const at::Tensor& score, double step_size) {
  const at::Tensor x = states.reshape({states.size(0), -1});
  const at::Tensor change = x - x.unsqueeze(1);  // [from][to]
  const at::Tensor estimate = change.matmul(score.reshape({x.size(0), -1, 1})).squeeze(2);
  return at::softmax(estimate / 2 - change.square().sum(2) / (2 * step_size), 1);
}

class DiscreteLangevinKernel : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Metropolis, DiscreteLangevinKernel, ::testing::Bool());

TEST_P(DiscreteLangevinKernel, TwoStepsOfBinarySites) {
  const CurvedEnergy energy(4);
  const at::Tensor states = all_states(4);
  const at::Tensor proposal = proposal_of(states, energy.score(states), 1.5);
  const at::Tensor kernel = GetParam() ? metropolis_hastings(proposal, energy(states)) : proposal;
  expect_kernel(
      [&](const at::Tensor& x) {
        return discrete_langevin(Energy(energy), x, {.n_steps = 2, .generator = seeded(1)},
                                 {.step_size = 1.5, .metropolis = GetParam()})
            .x;
      },
      states, kernel.matmul(kernel), 8000);
}

TEST_P(DiscreteLangevinKernel, EveryRowOfTheKernelOfCategoricalSitesAtATemperature) {
  const CurvedEnergy energy(6);
  const at::Tensor states = all_one_hot(2, 3), beta = at::full({}, 0.5);
  const at::Tensor proposal = proposal_of(states, energy.score(states) / 2, 2.0);
  expect_kernel(
      [&](const at::Tensor& x) {
        return discrete_langevin(Energy(energy), x, {.beta = beta, .generator = seeded(2)},
                                 {2.0, GetParam(), /*categorical=*/true})
            .x;
      },
      states, GetParam() ? metropolis_hastings(proposal, energy(states) / 2) : proposal, 8000);
}

TEST_P(DiscreteLangevinKernel, ThreadsAndOtherChainsChangeNothing) {
  const CurvedEnergy energy(4);
  testing::expect_same_for_any_threads_and_chains(
      [&](int64_t n) {
        return discrete_langevin(Energy(energy), at::zeros({n, 4}),
                                 {.n_steps = 5, .generator = seeded(5)},
                                 {.step_size = 1.0, .metropolis = GetParam()})
            .x;
      },
      100);
}

TEST(DiscreteLangevin, RejectsProposalsWithoutAFiniteScore) {
  for (bool categorical : {false, true}) {
    const auto sample = [&](const Energy& energy, const at::Tensor& x) {
      return discrete_langevin(energy, x, {.n_steps = 20, .generator = seeded(3)},
                               {.step_size = 1.0, .categorical = categorical})
          .x;
    };
    const at::Tensor off = at::zeros({200, 3});
    testing::expect_no_way_over_the_cliff(sample, categorical ? at::stack({1 - off, off}, 2) : off);
  }
}

TEST(DiscreteLangevin, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.sum(1); });
  const auto sample = [&](const at::Tensor& x, const DiscreteLangevinOptions& options) {
    return discrete_langevin(energy, x, {}, options);
  };
  const at::Tensor x = at::zeros({2, 3});
  EXPECT_THROWS(sample(x, {.step_size = 0}), c10::ValueError, "step_size must be > 0");
  EXPECT_THROWS(sample(x, {.step_size = at::ones({3})}), c10::ValueError, "one for every chain");
  EXPECT_THROWS(sample(x + 2, {}), c10::ValueError, "zeros and ones only, got 2");
  EXPECT_THROWS(sample(x, {.categorical = true}), c10::ValueError, "must be one-hot");
}

}  // namespace
}  // namespace torch_ebm::discrete_langevin_test
