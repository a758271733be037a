#include "torch_ebm/learning/replay_buffer.h"

#include "tests/cpp/testing.h"
#include "torch_ebm/learning/tempered_pcd.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/replica_exchange.h"

namespace torch_ebm::replay_buffer_test {
namespace {

using testing::seeded;

Samples add_one(const Energy&, const at::Tensor& x, const RunOptions&) { return {x + 1, {}, {}}; }
Samples stay(const Energy&, const at::Tensor& x, const RunOptions&) { return {x, {}, {}}; }
Samples broken(const Energy&, const at::Tensor& x, const RunOptions&) {
  at::Tensor(x).add_(1);
  throw std::runtime_error("sampler broke");
}

Energy flat() {
  return Energy([](const at::Tensor& x) { return x.flatten(1).sum(1) * 0; });
}

TEST(ReplayBuffer, WritesEveryResultBackToItsSlot) {
  ReplayBuffer replay(30, 10, std::vector<int64_t>{2}, add_one, "uniform", 0.0, 1);
  const at::Tensor before = replay->states.clone();
  const at::Tensor negative = replay(flat());
  EXPECT_TRUE(at::equal(negative, replay->start + 1));
  EXPECT_EQ(replay->age.sum().item<int64_t>(), 10);
  EXPECT_TRUE(at::equal(replay->states, before + replay->age.unsqueeze(1)));
}

TEST(ReplayBuffer, StartsAnewAndSetsTheAgeBack) {
  ReplayBuffer replay(2000, 2000, std::vector<int64_t>{}, stay, "uniform", 0.25, 1);
  replay(flat());
  replay->states.fill_(100);
  replay(flat());
  const at::Tensor fresh = replay->states.lt(50);
  EXPECT_NEAR(fresh.sum().item<int64_t>(), 500, 100);  // five standard deviations
  EXPECT_TRUE(at::equal(replay->age, 2 - fresh.to(at::kLong)));
}

TEST(ReplayBuffer, KeepsEverythingIfTheSamplerThrows) {
  ReplayBuffer replay(5, 3, std::vector<int64_t>{2}, broken, "uniform", 0.5, 1);
  const at::Tensor states = replay->states.clone();
  const at::Tensor generator = replay->generator_state.clone();
  EXPECT_THROW(replay(flat()), std::runtime_error);
  EXPECT_TRUE(at::equal(replay->states, states));
  EXPECT_TRUE(at::equal(replay->generator_state, generator));
  EXPECT_EQ(replay->age.sum().item<int64_t>(), 0);
}

TEST(ReplayBuffer, WrongArgumentsAreNamed) {
  const std::vector<int64_t> shape{2};
  EXPECT_THROWS(ReplayBuffer(3, 4, shape, stay), c10::ValueError, "capacity must be at least 4");
  EXPECT_THROWS(ReplayBuffer(3, 2, shape, stay, "uniform", 1.5), c10::ValueError,
                "reinit_probability must be in [0, 1], got 1.5");
}

TEST(TemperedPCD, SwapsAllPairsInTurn) {
  TemperedPCD pcd(1, std::vector<int64_t>{1}, at::tensor({1.0, 0.8, 0.6}), stay, 1, "normal", 1);
  pcd->chains.copy_(at::arange(3).view({3, 1, 1}));
  std::vector<double> seen;
  for (int call = 0; call < 4; ++call) seen.push_back(pcd(flat()).item<double>());
  EXPECT_EQ(seen, (std::vector<double>{1, 1, 2, 2}));
  EXPECT_EQ(pcd->start.sizes(), (std::vector<int64_t>{3, 1, 1}));
}

TEST(TemperedPCD, ACallIsReplicaExchangeOfTheKeptChains) {
  RBM rbm(6, 4);
  rbm->weight.detach().normal_(0, 1, seeded(1));
  const Energy energy(rbm);
  const Sampler sampler = bind_sampler(gibbs);
  const at::Tensor betas = at::tensor({1.0, 0.6, 0.3});
  TemperedPCD pcd(50, std::vector<int64_t>{6}, betas, sampler, 3, "bernoulli", 1);
  for (int call = 0; call < 2; ++call) {
    at::Generator generator = seeded(0);
    generator.set_state(pcd->generator_state);
    const ReplicaSamples expected =
        replica_exchange(energy, pcd->chains, betas, sampler,
                         {.n_steps = 3, .generator = generator}, {.first_step = call % 2});
    EXPECT_TRUE(at::equal(pcd(energy), expected.x[0])) << call;
    EXPECT_TRUE(at::equal(pcd->chains, expected.x)) << call;
    EXPECT_TRUE(testing::close(pcd->swap_rate, expected.swap_rate)) << call;
  }
}

TEST(TemperedPCD, KeepsEverythingIfTheSamplerThrows) {
  TemperedPCD pcd(4, std::vector<int64_t>{2}, at::tensor({1.0, 0.5}), broken, 1, "normal", 1);
  const at::Tensor chains = pcd->chains.clone();
  EXPECT_THROW(pcd(flat()), std::runtime_error);
  EXPECT_TRUE(at::equal(pcd->chains, chains));
  EXPECT_EQ(pcd->parity.item<int64_t>(), 0);
}

}  // namespace
}  // namespace torch_ebm::replay_buffer_test
