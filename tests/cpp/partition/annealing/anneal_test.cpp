#include "torch_ebm/partition/annealing/anneal.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/annealed_energy.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::anneal_test {
namespace {

using testing::mean_is;
using testing::seeded;

/// From N(0, 1) to N(0, 1/4), one unit: E_beta = (1 + 3 beta) x^2 / 2.
class Narrowing : public EnergyFunction {
 public:
  at::Tensor value(const at::Tensor& x) const override { return 2 * x.square().sum(1); }
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    return x.square().sum(1) / 2;
  }
};

Energy narrowing() { return Energy(std::make_shared<Narrowing>()); }
at::Tensor start(int64_t n, double sd = 1) {
  return sd * at::randn({n, 1}, seeded(1), at::TensorOptions(at::kDouble));
}
at::Tensor path() { return at::linspace(0, 1, 6, at::TensorOptions(at::kDouble)); }
Sampler two_steps() { return bind_sampler(&mala, {.n_steps = 2}, {.step_size = 0.3}); }

TEST(Anneal, WeightsAreUnbiasedUpAndDown) {
  const AnnealedChains up =
      anneal(narrowing(), start(50000), path(), two_steps(), {.generator = seeded(2)});
  EXPECT_TRUE(mean_is(at::exp(up.log_weights), 0.5));  // Z goes with the standard deviation
  const AnnealedChains down =
      anneal(narrowing(), start(50000, 0.5), path().flip(0), two_steps(), {.generator = seeded(3)});
  EXPECT_TRUE(mean_is(at::exp(down.log_weights), 2));
}

TEST(Anneal, ResamplingKeepsWeightsUnbiased) {
  const int64_t groups = 5000;
  const AnnealedChains chains =
      anneal(narrowing(), start(4 * groups), path(), two_steps(),
             {.n_groups = groups, .resample_below = 0.9, .generator = seeded(4)});
  EXPECT_TRUE(mean_is(at::exp(chains.log_weights).view({groups, 4}).mean(1), 0.5));
}

TEST(Anneal, TwoShortRunsAreOneLongRun) {
  for (const double resample_below : {0.0, 0.95}) {
    const AnnealOptions options{
        .n_groups = 2, .resample_below = resample_below, .generator = seeded(5)};
    const AnnealedChains whole = anneal(narrowing(), start(8), path(), two_steps(), options);
    AnnealOptions again = options;
    again.generator = seeded(5);
    const AnnealedChains first =
        anneal(narrowing(), start(8), path().slice(0, 0, 3), two_steps(), again);
    again.log_weights = first.log_weights;
    const AnnealedChains second =
        anneal(narrowing(), first.x, path().slice(0, 2), two_steps(), again);
    EXPECT_TRUE(at::equal(second.x, whole.x));
    // The second run does not know what the sampler said of its first states.
    EXPECT_TRUE(testing::close(second.log_weights, whole.log_weights, 1e-12, 1e-12));
  }
}

TEST(Anneal, AnAnnealedEnergyIsBetweenBaseAndEnergy) {
  const NoiseDistribution base{
      .sample = {}, .log_prob = [](const at::Tensor& x) { return -x.square().sum(1) / 2; }};
  const Energy between =
      annealed_energy(Energy(std::function<at::Tensor(const at::Tensor&)>(
                          [](const at::Tensor& x) { return 2 * x.square().sum(1); })),
                      base);
  const at::Tensor x = start(5);
  const at::Tensor beta = at::full({}, 0.25, at::kDouble);
  const auto [energy, score] = between.value_and_score(x, beta);
  EXPECT_TRUE(testing::close(energy, (0.75 / 2 + 0.25 * 2) * x.square().sum(1)));
  EXPECT_TRUE(testing::close(score, -(0.75 + 0.25 * 4) * x));
  EXPECT_TRUE(testing::close(between.values_at(x, {beta})[0], energy));
  EXPECT_TRUE(testing::close(between.value(x), 2 * x.square().sum(1)));
}

TEST(Anneal, WrongArgumentsAreNamed) {
  const auto run = [](const at::Tensor& betas, const AnnealOptions& options = {}) {
    return anneal(narrowing(), start(6), betas, two_steps(), options);
  };
  EXPECT_THROWS(run(at::tensor({0.0, 1.0, 0.5})), c10::ValueError,
                "rise strictly or fall strictly");
  EXPECT_THROWS(run(path(), {.n_groups = 4}), c10::ValueError, "n_groups must divide");
  EXPECT_THROWS(run(path(), {.resample_below = 2}), c10::ValueError, "resample_below must be in");
  EXPECT_THROWS(run(path(), {.log_weights = at::zeros({2})}), c10::ValueError, "log_weights must");
  EXPECT_THROWS(anneal(narrowing(), start(6), path(), {}), c10::ValueError, "sampler must not be");
}

}  // namespace
}  // namespace torch_ebm::anneal_test
