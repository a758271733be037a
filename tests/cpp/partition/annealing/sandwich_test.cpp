#include "torch_ebm/partition/annealing/sandwich.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <sstream>

#include "tests/cpp/discrete_models.h"
#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/anneal.h"
#include "torch_ebm/partition/annealing/annealed_energy.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::sandwich_test {
namespace {

using testing::all_states;
using testing::counts_fit;
using testing::draw_states;
using testing::seeded;
using testing::state_counts;

constexpr int64_t kUnits = 4;

RBM make_rbm(int64_t n_visible, int64_t n_hidden, double scale,
             at::ScalarType dtype = at::kDouble) {
  RBM rbm(n_visible, n_hidden);
  rbm->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(1);
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(scale * at::randn(parameter.sizes(), generator, at::kDouble));
  }
  return rbm;
}

at::Tensor betas(int64_t n) { return at::linspace(0, 1, n, at::kDouble); }

/// Fair coins.
NoiseDistribution coins(int64_t n_units) {
  return {[=](int64_t n, const std::optional<at::Generator>& generator) {
            return at::randint(2, {n, n_units}, generator, at::kDouble);
          },
          [=](const at::Tensor& u) {
            return at::full({u.size(0)}, -std::log(2.0) * static_cast<double>(n_units),
                            at::kDouble);
          }};
}

Sampler random_scan() { return bind_sampler(gibbs, {.n_steps = kUnits}, {.scan = "random"}); }

void expect_near(const LogZEstimate& estimate, double exact) {
  EXPECT_LT(std::abs(estimate.log_z.item<double>() - exact),
            testing::kMaxZ * estimate.std_error.item<double>());
}

void expect_all_near(const Sandwich& sandwich, double exact) {
  expect_near(sandwich.forward, exact);
  expect_near(sandwich.reverse, exact);
  expect_near(sandwich.bridge, exact);
}

TEST(RBMSample, FollowsTheEnumeratedLaw) {
  for (const auto& [n_visible, n_hidden] : {std::pair{5, 3}, std::pair{3, 5}, std::pair{4, 4}}) {
    for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const RBM rbm = make_rbm(n_visible, n_hidden, 1.0, dtype);
      rbm->visible_bias.detach().mul_(-3);  // so that the law of the hidden units depends on it
      const at::Tensor x = rbm->sample(200000, seeded(2));
      EXPECT_EQ(x.scalar_type(), dtype);
      const at::Tensor law = at::softmax(-rbm->forward(all_states(n_visible, dtype)).detach(), 0);
      EXPECT_TRUE(counts_fit(state_counts(x), law));
    }
  }
}

TEST(RBMSample, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const RBM rbm = make_rbm(100, 6, 0.3, at::kFloat);
  testing::expect_same_for_any_threads_and_chains(
      [&](int64_t n) { return rbm->sample(n, seeded(3)); }, 1500);
}

TEST(RBMSample, WrongArgumentsAreNamed) {
  EXPECT_THROWS(RBM(21, 30)->sample(5), c10::ValueError,
                "the smaller layer must have between 1 and 20 units, got 21");
  EXPECT_THROWS(RBM(3, 2)->sample(0), c10::ValueError, "n must be at least 1, got 0");
}

TEST(Sandwich, BoundsLogZOfAnRBMAndBridgesIt) {
  const RBM rbm = make_rbm(6, 5, 1.0);
  const SandwichOptions options{.n_chains = 2000, .betas = betas(3), .generator = seeded(4)};
  const Sandwich found = sandwich(rbm, options, at::zeros({6}, at::kDouble));
  EXPECT_TRUE(found.exact_samples);
  expect_all_near(found, rbm->log_z().item<double>());
  EXPECT_LT(found.bridge.std_error.item<double>(), found.forward.std_error.item<double>());
  EXPECT_LT(found.bridge.std_error.item<double>(), found.reverse.std_error.item<double>());
}

TEST(Sandwich, OfALargeRBMBeginsAtChains) {
  const RBM rbm = make_rbm(22, 21, 0.3);
  const Sandwich found =
      sandwich(rbm, {.betas = betas(200), .n_burn_in = 50, .generator = seeded(5)});
  EXPECT_FALSE(found.exact_samples);
  expect_all_near(found, rbm->log_z().item<double>());
  std::ostringstream text;
  text << found;
  EXPECT_NE(text.str().find("upper bound, only as far as the chains have mixed: log Z = "),
            std::string::npos);
}

TEST(Sandwich, OfAnyEnergyFromGivenSamplesAndFromChains) {
  const testing::CurvedEnergy curved(kUnits);
  const Energy energy([=](const at::Tensor& x) { return curved(x); });
  const at::Tensor log_f = -curved(all_states(kUnits));
  const double exact = at::logsumexp(log_f, {0}).item<double>();
  SandwichOptions options{
      .n_chains = 1000, .betas = betas(5), .n_burn_in = 20, .generator = seeded(6)};
  const Sandwich from_chains = sandwich(energy, coins(kUnits), random_scan(), options);
  EXPECT_FALSE(from_chains.exact_samples);
  expect_all_near(from_chains, exact);
  options.x = draw_states(all_states(kUnits), at::softmax(log_f, 0), 1500, seeded(7));
  const Sandwich from_samples = sandwich(energy, coins(kUnits), random_scan(), options);
  EXPECT_TRUE(from_samples.exact_samples);
  EXPECT_EQ(from_samples.reverse.log_weights.size(0), 1500);
  expect_all_near(from_samples, exact);
}

TEST(Sandwich, DrawsItsSamplesByTheOperatorsThatPythonsRunCalls) {
  const testing::CurvedEnergy curved(kUnits);
  const Energy energy([=](const at::Tensor& x) { return curved(x); });
  const Sandwich found =
      sandwich(energy, coins(kUnits), random_scan(),
               {.n_chains = 50, .betas = betas(3), .n_burn_in = 0, .generator = seeded(9)});
  const at::Generator generator = seeded(9);
  const NoiseDistribution base = coins(kUnits);
  const AnnealedChains up = anneal(annealed_energy(energy, base), base.sample(50, generator),
                                   betas(3), random_scan(), {.generator = generator});
  const auto chains_by_weight =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("torch_ebm::_chains_by_weight", "")
          .typed<at::Tensor(const at::Tensor&, std::optional<at::Generator>)>();
  const at::Tensor chosen = chains_by_weight.call(up.log_weights, generator);
  const LogZEstimate down = reverse_ais(energy, base, up.x.index_select(0, chosen), random_scan(),
                                        {.betas = betas(3), .generator = generator});
  EXPECT_TRUE(at::equal(found.reverse.log_weights, down.log_weights));
}

TEST(Sandwich, SaysHowFarItsBoundsLieApart) {
  const RBM rbm = make_rbm(16, 16, 2.0);
  const SandwichOptions options{.n_chains = 50, .betas = betas(2), .generator = seeded(8)};
  const Sandwich found = sandwich(rbm, options);
  EXPECT_NE(found.warning.find("The bounds disagree by"), std::string::npos) << found;
  const RBM flat = make_rbm(6, 4, 0.1);
  EXPECT_TRUE(sandwich(flat, {.betas = betas(50)}).warning.empty());
}

TEST(Sandwich, WrongArgumentsAreNamed) {
  const RBM rbm = make_rbm(3, 2, 1.0);
  EXPECT_THROWS(sandwich(rbm, {.n_chains = 1}), c10::ValueError, "n_chains must be at least 2");
  EXPECT_THROWS(sandwich(rbm, {.n_burn_in = -1}), c10::ValueError, "n_burn_in must be at least 0");
}

}  // namespace
}  // namespace torch_ebm::sandwich_test
