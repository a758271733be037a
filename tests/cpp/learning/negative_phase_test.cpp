#include "torch_ebm/learning/negative_phase.h"

#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/learning/replay_buffer.h"
#include "torch_ebm/learning/tempered_pcd.h"
#include "torch_ebm/learning/unbiased_cd.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/gibbs_with_gradients.h"
#include "torch_ebm/samplers/langevin.h"

namespace torch_ebm::negative_phase_test {
namespace {

using testing::counts_fit;
using testing::mean_is;
using testing::seeded;

Energy make_energy() {
  RBM rbm(6, 4);
  rbm->weight.detach().normal_(0, 1, seeded(1));
  return Energy(rbm);
}

/// A sampler that only remembers what it was given and adds one.
struct Recorder {
  std::shared_ptr<std::vector<at::Tensor>> seen = std::make_shared<std::vector<at::Tensor>>();
  Samples operator()(const Energy&, const at::Tensor& x, const RunOptions&) const {
    seen->push_back(x.clone());
    return {.x = x + 1};
  }
};

Samples throwing(const Energy&, const at::Tensor& x, const RunOptions& run) {
  at::rand(x.sizes(), run.generator);  // uses up randomness before it fails
  throw std::runtime_error("sampler broke");
}

template <typename Holder>
std::string saved(const Holder& module) {
  std::ostringstream stream;
  torch::save(module, stream);
  return stream.str();
}

template <typename Holder>
void load(Holder& module, const std::string& bytes) {
  std::istringstream stream(bytes);
  torch::load(module, stream);
}

TEST(StartStates, HaveTheirLaws) {
  const at::Tensor bits = start_states("bernoulli", {100000}, seeded(1));
  EXPECT_TRUE(bits.eq(0).logical_or(bits.eq(1)).all().item<bool>());
  EXPECT_TRUE(mean_is(bits, 0.5));
  const at::Tensor uniform = start_states("uniform", {100000}, seeded(1), at::kDouble);
  EXPECT_EQ(uniform.scalar_type(), at::kDouble);
  EXPECT_TRUE(uniform.gt(0).logical_and(uniform.lt(1)).all().item<bool>());
  EXPECT_TRUE(mean_is(uniform, 0.5));
  EXPECT_TRUE(mean_is(uniform.square(), 1.0 / 3));
  const at::Tensor normal = start_states("normal", {50000, 2}, seeded(1));
  EXPECT_TRUE(mean_is(normal.flatten(), 0));
  EXPECT_TRUE(mean_is(normal.square().flatten(), 1));
  EXPECT_TRUE(at::equal(start_states("normal", {3, 2}, seeded(1)), normal.slice(0, 0, 3)));
  const at::Tensor one_hot = start_states("categorical", {30000, 2, 3}, seeded(1));
  const at::Tensor labels = one_hot.argmax(2);
  EXPECT_TRUE(one_hot.sum(2).eq(1).all().item<bool>());
  const at::Tensor pairs = at::bincount(3 * labels.select(1, 0) + labels.select(1, 1), {}, 9);
  EXPECT_TRUE(counts_fit(pairs, at::ones({9}, at::kDouble)));  // fair and independent
}

TEST(StartStates, InBFloat16AreStillFair) {
  EXPECT_TRUE(mean_is(start_states("bernoulli", {1000000}, seeded(1), at::kBFloat16), 0.5));
}

TEST(StartStates, WrongArgumentsAreNamed) {
  EXPECT_THROWS(start_states("cauchy", {3}), c10::ValueError, "got \"cauchy\"");
  EXPECT_THROWS(start_states("normal", {0, 3}), c10::ValueError, "at least one chain");
  EXPECT_THROWS(start_states("normal", {3}, std::nullopt, at::kLong), c10::TypeError,
                "floating dtype");
}

TEST(NaiveMCMC, StartsNewChainsEveryTime) {
  Recorder sampler;
  NaiveMCMC naive(3, std::vector<int64_t>{2, 2}, sampler, "normal", 5);
  const Energy energy = make_energy();
  const at::Tensor first = naive(energy);
  const at::Tensor start = naive->start;
  naive(energy);
  EXPECT_EQ(first.sizes(), (std::vector<int64_t>{3, 2, 2}));
  EXPECT_TRUE(at::equal(first, start + 1));
  EXPECT_TRUE(at::equal(start, sampler.seen->at(0)));
  EXPECT_FALSE(at::equal(sampler.seen->at(0), sampler.seen->at(1)));
  naive->to(at::kDouble);
  EXPECT_EQ(naive(energy).scalar_type(), at::kDouble);
}

TEST(CD, StartsAtTheData) {
  Recorder sampler;
  CD cd(sampler, 5);
  const at::Tensor data = at::rand({3, 2}).requires_grad_();
  const at::Tensor negative = cd(make_energy(), data);
  EXPECT_TRUE(at::equal(cd->start, data));
  EXPECT_TRUE(at::equal(negative, data + 1));
  EXPECT_FALSE(negative.requires_grad());
  EXPECT_THROWS(cd(make_energy()), c10::ValueError, "positive must be the batch of data");
}

TEST(PCD, GoesOnWithItsChains) {
  Recorder sampler;
  PCD pcd(3, std::vector<int64_t>{2}, sampler, "bernoulli", 5);
  const at::Tensor start = pcd->chains.clone();
  pcd(make_energy());
  pcd(make_energy());
  EXPECT_TRUE(at::equal(sampler.seen->at(0), start));
  EXPECT_TRUE(at::equal(sampler.seen->at(1), start + 1));
  EXPECT_TRUE(at::equal(pcd->start, start + 1));
  EXPECT_TRUE(at::equal(pcd->chains, start + 2));
}

TEST(PCD, WhatItReturnedIsNotChangedByTheNextCall) {
  PCD pcd(3, std::vector<int64_t>{2}, Recorder{}, "bernoulli", 5);
  const at::Tensor first = pcd(make_energy());
  const at::Tensor copy = first.clone();
  pcd(make_energy());
  EXPECT_TRUE(at::equal(first, copy));
}

TEST(NegativePhase, WrongArgumentsAreNamed) {
  const std::vector<int64_t> shape = {2};
  EXPECT_THROWS(NaiveMCMC(0, shape, Recorder{}), c10::ValueError,
                "NaiveMCMC: n_chains must be at least 1");
  EXPECT_THROWS(PCD(1, std::vector<int64_t>{0}, Recorder{}), c10::ValueError,
                "PCD: every size of shape must be at least 1");
  EXPECT_THROWS(PCD(1, shape, Sampler{}), c10::ValueError, "sampler must not be empty");
  EXPECT_THROWS(PCD(1, shape, Recorder{}, "cauchy"), c10::ValueError, "got \"cauchy\"");
}

TEST(NegativePhase, SeedDecidesEverything) {
  const Energy energy = make_energy();
  const Sampler sampler = bind_sampler(gibbs, {.n_steps = 2});
  const std::vector<int64_t> shape = {6};
  const auto run = [&](std::optional<uint64_t> seed) {
    PCD pcd(5, shape, sampler, "bernoulli", seed);
    pcd(energy);
    return pcd(energy);
  };
  EXPECT_TRUE(at::equal(run(1), run(1)));
  EXPECT_FALSE(at::equal(run(1), run(2)));
  at::manual_seed(3);
  const at::Tensor without = run(std::nullopt);
  at::manual_seed(3);
  EXPECT_TRUE(at::equal(run(std::nullopt), without));
}

template <typename Make>
void expect_works_outside_of_inference_mode(Make make) {
  const Energy energy = make_energy();
  auto inside = [&] {
    const c10::InferenceMode mode;
    return make();
  }();
  for (const at::Tensor& buffer : inside->buffers()) EXPECT_FALSE(buffer.is_inference());
  auto outside = make();
  const at::Tensor data = at::ones({5, 6});
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(at::equal(inside(energy, data), outside(energy, data))) << "call " << i;
  }
  EXPECT_EQ(saved(inside), saved(outside));
}

TEST(NegativePhase, OneMadeInInferenceModeWorksOutsideOfIt) {
  const Sampler sampler = bind_sampler(gibbs);
  const std::vector<int64_t> shape = {6};
  expect_works_outside_of_inference_mode([&] { return CD(sampler, 1); });
  expect_works_outside_of_inference_mode([&] { return PCD(5, shape, sampler, "bernoulli", 1); });
  expect_works_outside_of_inference_mode(
      [&] { return NaiveMCMC(5, shape, sampler, "bernoulli", 1); });
  expect_works_outside_of_inference_mode(
      [&] { return TemperedPCD(5, shape, at::tensor({1., 0.5}), sampler, 1, "bernoulli", 1); });
  expect_works_outside_of_inference_mode(
      [&] { return ReplayBuffer(9, 5, shape, sampler, "bernoulli", 0.1, 1); });
}

TEST(NegativePhase, LeavesTheGlobalGeneratorAlone) {
  PCD pcd(5, std::vector<int64_t>{6}, bind_sampler(gibbs), "bernoulli", 1);
  const Energy energy = make_energy();
  at::manual_seed(3);
  const at::Tensor expected = at::rand({4});
  at::manual_seed(3);
  pcd(energy);
  EXPECT_TRUE(at::equal(at::rand({4}), expected));
}

template <typename Holder, typename Make>
void expect_resumes(Make make, const at::Tensor& positive = {}) {
  const Energy energy = make_energy();
  Holder whole = make(1);
  whole(energy, positive);
  const std::string bytes = saved(whole);
  Holder resumed = make(99);
  load(resumed, bytes);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::equal(resumed(energy, positive), whole(energy, positive))) << "call " << i;
  }
}

TEST(NegativePhase, ResumesBitForBit) {
  const Sampler sampler = bind_sampler(gibbs, {.n_steps = 2});
  const std::vector<int64_t> shape = {6};
  expect_resumes<PCD>([&](uint64_t seed) { return PCD(5, shape, sampler, "bernoulli", seed); });
  expect_resumes<NaiveMCMC>(
      [&](uint64_t seed) { return NaiveMCMC(5, shape, sampler, "bernoulli", seed); });
  expect_resumes<CD>([&](uint64_t seed) { return CD(sampler, seed); }, at::ones({5, 6}));
  expect_resumes<PCD>([&](uint64_t seed) {
    return PCD(5, shape, bind_sampler(langevin, {.n_steps = 2}), "normal", seed);
  });
}

TEST(NegativePhase, AThrowingSamplerChangesNothing) {
  bool broken = false;
  const Sampler good = bind_sampler(gibbs);
  const Sampler sampler = [&](const Energy& energy, const at::Tensor& x, const RunOptions& run) {
    return broken ? throwing(energy, x, run) : good(energy, x, run);
  };
  const std::vector<int64_t> shape = {6};
  PCD pcd(5, shape, sampler, "bernoulli", 1);
  PCD untroubled(5, shape, good, "bernoulli", 1);
  const Energy energy = make_energy();
  pcd(energy);
  untroubled(energy);
  const std::string before = saved(pcd);
  const at::Tensor start = pcd->start.clone();
  broken = true;
  EXPECT_THROWS(pcd(energy), std::runtime_error, "sampler broke");
  EXPECT_EQ(saved(pcd), before);
  EXPECT_TRUE(at::equal(pcd->start, start));
  broken = false;
  EXPECT_TRUE(at::equal(pcd(energy), untroubled(energy)));
}

TEST(NegativePhase, ASamplerOfTheWrongShapeChangesNothing) {
  PCD pcd(
      5, std::vector<int64_t>{6},
      [](const Energy&, const at::Tensor& x, const RunOptions&) {
        return Samples{.x = x.slice(1, 0, 1)};
      },
      "bernoulli", 1);
  const std::string before = saved(pcd);
  EXPECT_THROWS(pcd(make_energy()), c10::ValueError, "sampler must return the shape of the chains");
  EXPECT_EQ(saved(pcd), before);
}

TEST(NegativePhase, StartsFromAnyLaw) {
  const auto drawn = [](const StartLaw& law, at::IntArrayRef size) {
    return start_states(law, size, seeded(3), at::kDouble);
  };
  const at::Tensor unit = drawn("uniform", {50, 4});
  EXPECT_TRUE(at::allclose(drawn("uniform(-1, 3)", {50, 4}), 4 * unit - 1));
  EXPECT_TRUE(drawn("categorical", {50, 2, 3}).sum(2).eq(1).all().item<bool>());
  EXPECT_THROWS(drawn("uniform(3, -1)", {50, 4}), c10::ValueError, "low < high");
  EXPECT_THROWS(drawn("categorical", {50, 1}), c10::ValueError, "K >= 2 states of a site");
  const StartLaw twos(
      [](at::IntArrayRef size, const std::optional<at::Generator>&) { return at::full(size, 2); });
  EXPECT_TRUE(at::equal(drawn(twos, {2, 3}), at::full({2, 3}, 2, at::kDouble)));
  const StartLaw wrong(
      [](at::IntArrayRef, const std::optional<at::Generator>&) { return at::zeros({1}); });
  EXPECT_THROWS(drawn(wrong, {2, 3}), c10::ValueError, "what law returns must have shape");
  const PCD pcd(5, std::vector<int64_t>{6}, Recorder(), twos, 1);
  EXPECT_TRUE(pcd->chains.eq(2).all().item<bool>());
}

/// The negative samples of the third call of a phase, a row as a binary number.
template <typename Phase>
std::vector<int64_t> third_call(Phase phase) {
  RBM rbm(2 * at::arange(24.0, at::kFloat).sin().view({6, 4}), at::zeros({6}), at::zeros({4}));
  at::Tensor negative;
  for (int call = 0; call < 3; ++call) {
    negative = phase->forward(Energy(rbm), at::eye(6).narrow(0, 0, 5));
  }
  const at::Tensor places = at::bitwise_left_shift(at::ones({6}, at::kLong), at::arange(6));
  const at::Tensor numbers = (negative.to(at::kLong) * places).sum(1);
  return {numbers.const_data_ptr<int64_t>(), numbers.const_data_ptr<int64_t>() + numbers.numel()};
}

// The same numbers stand in tests/python/learning/test_negative_phase.py.
TEST(NegativePhase, InPythonDrawsTheSame) {
  using Numbers = std::vector<int64_t>;
  const Sampler sampler = bind_sampler(&gibbs, {.n_steps = 2});
  const at::Tensor betas = at::tensor({1.0, 0.5});
  EXPECT_EQ(third_call(NaiveMCMC(5, std::vector<int64_t>{6}, sampler, "bernoulli", 7)),
            (Numbers{45, 37, 45, 9, 45}));
  EXPECT_EQ(third_call(CD(sampler, 7)), (Numbers{41, 9, 45, 9, 9}));
  EXPECT_EQ(third_call(PCD(5, std::vector<int64_t>{6}, sampler, "bernoulli", 7)),
            (Numbers{45, 45, 45, 37, 45}));
  EXPECT_EQ(third_call(TemperedPCD(5, std::vector<int64_t>{6}, betas, sampler, 1, "bernoulli", 7)),
            (Numbers{45, 13, 45, 45, 45}));
  EXPECT_EQ(third_call(UnbiasedCD(UnbiasedCDOptions{}, 7)),
            (Numbers{41, 10, 32, 41, 45, 45, 51, 45, 27, 41, 9, 45, 9, 45, 9, 41, 43}));
  EXPECT_EQ(third_call(ReplayBuffer(20, 5, std::vector<int64_t>{6}, sampler, "bernoulli", 0.05, 7)),
            (Numbers{49, 57, 45, 45, 43}));
}

TEST(NegativePhase, KeepsTheAcceptanceRateOfItsSampler) {
  PCD pcd(5, std::vector<int64_t>{6}, bind_sampler(&gibbs_with_gradients), "bernoulli", 7);
  EXPECT_FALSE(pcd->acceptance_rate.defined());
  pcd->forward(make_energy());
  EXPECT_EQ(pcd->acceptance_rate.sizes(), at::IntArrayRef({5}));
  EXPECT_TRUE(
      pcd->acceptance_rate.gt(0).logical_and(pcd->acceptance_rate.lt(1)).any().item<bool>());
}

}  // namespace
}  // namespace torch_ebm::negative_phase_test
