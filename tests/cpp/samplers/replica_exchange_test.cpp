#include "torch_ebm/samplers/replica_exchange.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/ladder.h"
#include "torch_ebm/samplers/tempered_transitions.h"

namespace torch_ebm::replica_exchange_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::draw_states;
using testing::seeded;
using testing::state_counts;

at::Tensor table() { return at::tensor({0.0, 2.0, 1.5, 0.3, 2.5, 0.1, 1.0, 3.0}, at::kDouble); }

Energy table_energy() {
  return Energy([](const at::Tensor& x) {
    return table().index_select(0, (x * at::tensor({1, 2, 4})).sum(1).to(at::kLong));
  });
}

Samples stay(const Energy&, const at::Tensor& x, const RunOptions&) { return {x, {}, {}}; }

/// Metropolis with one site for all chains at a time: reversible at every temperature.
Samples flip(const Energy& energy, const at::Tensor& x, const RunOptions& run) {
  const at::Tensor site = at::randint(3, {x.size(0), 1}, run.generator, at::kLong);
  const at::Tensor proposal = x.scatter(1, site, 1 - x.gather(1, site));
  const at::Tensor ratio = (energy.value(x, run.beta) - energy.value(proposal, run.beta)).exp();
  const at::Tensor accepted = at::rand({x.size(0)}, run.generator, at::kDouble).lt(ratio);
  return {at::where(accepted.unsqueeze(1), proposal, x), {}, {}};
}

TEST(ReplicaExchange, LeavesTheProductOfTheLawsInvariant) {
  const at::Tensor betas = at::tensor({1.0, 0.5, 0.0}, at::kDouble);
  std::vector<at::Tensor> rungs;
  for (int64_t r = 0; r < 3; ++r) {
    rungs.push_back(
        draw_states(all_states(3), at::softmax(-betas[r] * table(), 0), 40000, seeded(r)));
  }
  for (const Sampler& sampler : {Sampler(stay), bind_sampler(gibbs)}) {
    const auto out = replica_exchange(table_energy(), at::stack(rungs), betas, sampler,
                                      {.n_steps = 3, .thin = 2, .generator = seeded(10)});
    for (int64_t r = 0; r < 3; ++r) {
      EXPECT_TRUE(counts_fit(state_counts(out.x[r]), at::softmax(-betas[r] * table(), 0))) << r;
    }
    EXPECT_EQ(out.trajectory.sizes(), (std::vector<int64_t>{1, 40000, 3}));
  }
}

TEST(ReplicaExchange, TracesItsReplicas) {
  const Energy flat([](const at::Tensor& x) { return x.sum(1) * 0; });
  const at::Tensor x = at::arange(3, at::kDouble).view({3, 1, 1});
  const auto out = replica_exchange(flat, x, at::tensor({1.0, 0.5, 0.1}), stay, {.n_steps = 2});
  EXPECT_TRUE(at::equal(out.x.flatten(), at::tensor({1.0, 2.0, 0.0}, at::kDouble)));
  EXPECT_TRUE(at::equal(out.replica[0].flatten(), at::tensor({1, 0, 2}, at::kShort)));
  EXPECT_TRUE(at::equal(out.replica[1].flatten(), at::tensor({2, 0, 1}, at::kShort)));
  EXPECT_TRUE(at::equal(out.swap_rate, at::ones({2}, at::kDouble)));
}

TEST(ReplicaExchange, KeepsAllRungsIfAsked) {
  const at::Tensor betas = at::tensor({1.0, 0.5, 0.1});
  const auto run = [&](bool all_rungs) {
    return replica_exchange(table_energy(), at::zeros({3, 5, 3}, at::kDouble), betas,
                            bind_sampler(gibbs), {.n_steps = 6, .thin = 2, .generator = seeded(1)},
                            {.all_rungs = all_rungs});
  };
  const auto all = run(true), first = run(false);
  EXPECT_EQ(all.trajectory.sizes(), (std::vector<int64_t>{3, 3, 5, 3}));
  EXPECT_TRUE(at::equal(all.trajectory.select(1, 0), first.trajectory));
  EXPECT_TRUE(at::equal(all.trajectory[2], all.x));
  EXPECT_TRUE(at::equal(all.x, first.x));
}

TEST(ReplicaExchange, WrongArgumentsAreNamed) {
  const at::Tensor x = at::zeros({2, 3, 3});
  const auto run = [&](const at::Tensor& betas, RunOptions options) {
    return replica_exchange(table_energy(), x, betas, stay, options);
  };
  EXPECT_THROWS(run(at::tensor({1.0, 1.0}), {}), c10::ValueError, "strictly decreasing");
  EXPECT_THROWS(run(at::tensor({1.0, 0.5, 0.1}), {}), c10::ValueError, "x must have shape (3, N");
  EXPECT_THROWS(run(at::tensor({1.0, 0.5}), {.beta = at::ones({})}), c10::ValueError,
                "beta must be absent");
}

TEST(TemperedTransitions, LeavesTheTargetInvariant) {
  const at::Tensor law = at::softmax(-table(), 0);
  const at::Tensor x = draw_states(all_states(3), law, 100000, seeded(20));
  const Samples out = tempered_transitions(table_energy(), x, at::tensor({1.0, 0.5, 0.2}), flip,
                                           {.n_steps = 2, .generator = seeded(21)});
  EXPECT_TRUE(counts_fit(state_counts(out.x), law));
  EXPECT_LT(out.acceptance_rate.mean().item<double>(), 0.95);
}

TEST(Ladder, CutsTheBarrierInEqualParts) {
  const at::Tensor betas =
      adapt_ladder(at::tensor({1.0, 0.5, 0.0}, at::kDouble), at::tensor({0.1, 0.7}, at::kDouble));
  EXPECT_TRUE(close(betas, at::tensor({1.0, 2.0 / 3, 0.0}, at::kDouble)));
  const Ladder ladder{betas, {}, at::tensor({0.1, 0.7}, at::kDouble)};
  EXPECT_NEAR(ladder.barrier(), 1.2, 1e-12);
  EXPECT_EQ(ladder.suggested_rungs(), 4);
}

}  // namespace
}  // namespace torch_ebm::replica_exchange_test
