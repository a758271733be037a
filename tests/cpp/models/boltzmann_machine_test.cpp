#include "torch_ebm/models/boltzmann_machine.h"

#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/gibbs_with_gradients.h"

namespace torch_ebm::boltzmann_machine_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::draw_states;
using testing::seeded;
using testing::state_counts;

BoltzmannMachine make_machine(int64_t n_units, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  BoltzmannMachine machine(n_units);
  machine->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(seed);
  for (at::Tensor& parameter : machine->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator));
  }
  return machine;
}

/// E of every state by loops over the pairs of units.
at::Tensor naive_energies(const BoltzmannMachine& machine) {
  const int64_t n = machine->bias.size(0);
  const at::Tensor states = all_states(n);
  at::Tensor energies = at::zeros({states.size(0)}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    energies -= machine->bias[i].item<double>() * states.select(1, i);
    for (int64_t j = 0; j < i; ++j) {
      const at::Tensor pair = (machine->weight[i][j] + machine->weight[j][i]) / 2;
      energies -= pair.item<double>() * states.select(1, i) * states.select(1, j);
    }
  }
  return energies;
}

TEST(BoltzmannMachine, EnergiesAndScoresAreThoseOfTheFormula) {
  const BoltzmannMachine machine = make_machine(5, 1);
  EXPECT_TRUE(close(machine->forward(all_states(5)).detach(), naive_energies(machine), 1e-12));
  const at::Tensor x = at::randn({7, 5}, seeded(2), at::kDouble);
  const auto [energy, score] = machine->value_and_score(x);
  at::Tensor leaf = x.clone().requires_grad_();
  const at::Tensor value = machine->forward(leaf);
  value.sum().backward();
  EXPECT_TRUE(close(energy, value.detach(), 1e-12));
  EXPECT_TRUE(close(score, -leaf.grad(), 1e-12));
  EXPECT_FALSE(score.requires_grad());
}

class BoltzmannMachineSampler
    : public ::testing::TestWithParam<std::tuple<const char*, at::ScalarType>> {
 protected:
  bool with_gradients() const { return std::get<0>(GetParam()) == std::string("WithGradients"); }
  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
  at::Tensor sample(const BoltzmannMachine& machine, const at::Tensor& x, int64_t n_steps,
                    const std::optional<at::Tensor>& beta = std::nullopt) const {
    if (with_gradients()) {
      return gibbs_with_gradients(Energy(machine), x,
                                  {.n_steps = n_steps, .beta = beta, .generator = seeded(5)})
          .x;
    }
    return gibbs(Energy(machine), x, {.n_steps = n_steps, .beta = beta, .generator = seeded(5)}).x;
  }
};
INSTANTIATE_TEST_SUITE_P(All, BoltzmannMachineSampler,
                         ::testing::Combine(::testing::Values("Sweeps", "WithGradients"),
                                            ::testing::Values(at::kFloat, at::kDouble,
                                                              at::kBFloat16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  c10::toString(std::get<1>(info.param));
                         });

TEST_P(BoltzmannMachineSampler, LeavesTheModelInvariant) {
  const BoltzmannMachine machine = make_machine(5, 3, dtype());
  BoltzmannMachine exact = make_machine(5, 3, dtype());
  exact->to(at::kDouble);
  const at::Tensor p = at::softmax(-0.75 * naive_energies(exact), 0);
  const at::Tensor start = draw_states(all_states(5, dtype()), p, 50000, seeded(4));
  const at::Tensor x = sample(machine, start, 3, at::full({}, 0.75));
  EXPECT_EQ(x.scalar_type(), dtype());
  EXPECT_TRUE(counts_fit(state_counts(x), p));
}

TEST_P(BoltzmannMachineSampler, ReachesTheModelFromOneState) {
  const BoltzmannMachine machine = make_machine(5, 3, dtype());
  BoltzmannMachine exact = make_machine(5, 3, dtype());
  exact->to(at::kDouble);
  const at::Tensor x = sample(machine, at::zeros({20000, 5}, dtype()), with_gradients() ? 100 : 20);
  EXPECT_TRUE(counts_fit(state_counts(x), at::softmax(-naive_energies(exact), 0)));
}

TEST_P(BoltzmannMachineSampler, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const BoltzmannMachine machine = make_machine(100, 3, dtype());
  const auto run = [&](int64_t n) { return sample(machine, at::zeros({n, 100}, dtype()), 30); };
  testing::expect_same_for_any_threads_and_chains(run, 300);
}

TEST(BoltzmannMachine, AcceptanceRateAtInfiniteTemperatureIsOne) {
  const auto [x, rate] = *make_machine(6, 3)->gibbs_with_gradients(
      at::zeros({9, 6}, at::kDouble),
      {.n_steps = 3, .beta = at::zeros({}), .generator = seeded(6)});
  EXPECT_TRUE(at::equal(rate, at::ones({9}, at::kDouble)));
  EXPECT_TRUE(x.sum(1).remainder(2).eq(1).all().item<bool>());  // three flips
}

TEST(BoltzmannMachine, InAFieldIsTheMachineWithThatFieldInItsBias) {
  const BoltzmannMachine machine = make_machine(5, 3);
  const at::Tensor fields = at::randn({2, 5}, seeded(6), at::kDouble);
  const at::Tensor states = all_states(5);
  const auto start = [&](const at::Tensor& field, uint64_t seed) {
    const at::Tensor p = at::softmax(-naive_energies(machine) + at::mv(states, field), 0);
    return std::pair(draw_states(states, p, 30000, seeded(seed)), p);
  };
  // One field for all chains, and one for each.
  const auto of_all = machine->in_field(fields[0]);
  const at::Tensor expected = naive_energies(machine) - at::mv(states, fields[0]);
  EXPECT_TRUE(close(of_all->value(states).detach(), expected, 1e-12));
  const auto [first, p_first] = start(fields[0], 7);
  const auto [second, p_second] = start(fields[1], 8);
  const auto of_each = machine->in_field(fields.repeat_interleave(30000, 0));
  const at::Tensor x = at::cat({first, second});
  const RunOptions run{.n_steps = 3, .generator = seeded(9)};
  for (const at::Tensor& moved : {*of_each->gibbs(x, run, std::nullopt),
                                  std::get<0>(*of_each->gibbs_with_gradients(x, run))}) {
    EXPECT_TRUE(counts_fit(state_counts(moved.slice(0, 0, 30000)), p_first));
    EXPECT_TRUE(counts_fit(state_counts(moved.slice(0, 30000)), p_second));
  }
}

TEST(BoltzmannMachine, WrongArgumentsAreNamed) {
  const BoltzmannMachine machine = make_machine(4, 1);
  const at::Tensor x = at::zeros({2, 4}, at::kDouble);
  EXPECT_THROWS(BoltzmannMachine(0), c10::ValueError, "n_units must be at least 1, got 0");
  EXPECT_THROWS(machine->forward(at::zeros({4}, at::kDouble)), c10::ValueError, "got (4,)");
  EXPECT_THROWS(machine->value_and_score(at::zeros({2, 4})), c10::TypeError, "dtype of weight");
  EXPECT_THROWS(
      machine->gibbs(x + 0.5, {}, {}), c10::ValueError,
      "zeros and ones only, got 0.5; torch.bernoulli draws binary states from grey levels");
  EXPECT_THROWS(machine->gibbs_with_gradients(x, {.n_steps = 0}), c10::ValueError,
                "n_steps must be at least 1");
}

TEST(BoltzmannMachine, SavesLoadsAndClones) {
  const BoltzmannMachine machine = make_machine(4, 1, at::kFloat);
  std::stringstream stream;
  torch::save(machine, stream);
  BoltzmannMachine loaded(4);
  torch::load(loaded, stream);
  const auto copy = std::dynamic_pointer_cast<BoltzmannMachineImpl>(machine->clone());
  ASSERT_TRUE(copy);
  const at::Tensor x = all_states(4, at::kFloat);
  EXPECT_TRUE(at::equal(loaded->forward(x), machine->forward(x)));
  EXPECT_TRUE(at::equal(copy->forward(x), machine->forward(x)));
  EXPECT_EQ(machine->named_parameters().keys(), (std::vector<std::string>{"weight", "bias"}));
  std::stringstream text;
  text << machine;
  EXPECT_EQ(text.str(), "torch_ebm::BoltzmannMachine(n_units=4)");
}

}  // namespace
}  // namespace torch_ebm::boltzmann_machine_test
