#include "torch_ebm/partition/annealing/raise_log_likelihood.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::raise_log_likelihood_test {
namespace {

using testing::mean_is;
using testing::seeded;

/// One coin with log odds 2, annealed from a fair one.
at::Tensor energy_of(const at::Tensor& x) { return -2 * x.sum(1); }

const NoiseDistribution kCoin{
    .sample =
        [](int64_t n, const std::optional<at::Generator>& generator) {
          return at::bernoulli(at::full({n, 1}, 0.5, at::kDouble), generator);
        },
    .log_prob =
        [](const at::Tensor& x) { return at::full({x.size(0)}, std::log(0.5), at::kDouble); }};

TEST(RAISE, IsUnbiasedForTheProbability) {
  // A Gibbs step of one unit draws it exactly: the annealing model is the model.
  const Energy energy{std::function<at::Tensor(const at::Tensor&)>(energy_of)};
  const at::Tensor x =
      at::tensor({0.0, 1.0}).view({2, 1}).to(at::kDouble).repeat_interleave(20000, 0);
  const at::Tensor estimates = at::exp(raise_log_likelihood(
      energy, kCoin, x, bind_sampler(&gibbs),
      {.n_chains = 2, .betas = at::tensor({0.0, 0.3, 1.0}, at::kDouble), .generator = seeded(1)}));
  const double heads = 1 / (1 + std::exp(-2.0));
  EXPECT_TRUE(mean_is(estimates.slice(0, 0, 20000), 1 - heads));
  EXPECT_TRUE(mean_is(estimates.slice(0, 20000), heads));
}

TEST(RAISE, WrongArgumentsAreNamed) {
  const Energy energy{std::function<at::Tensor(const at::Tensor&)>(energy_of)};
  const at::Tensor x = at::zeros({2, 1}, at::kDouble);
  EXPECT_THROWS(raise_log_likelihood(energy, kCoin, x, bind_sampler(&gibbs), {.n_chains = 0}),
                c10::ValueError, "n_chains must be at least 1");
  EXPECT_THROWS(raise_log_likelihood(energy, kCoin, x, {}), c10::ValueError, "sampler must not be");
  class Biased : public EnergyFunction {
   public:
    at::Tensor value(const at::Tensor& x) const override { return energy_of(x); }
    std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
      return x.sum(1);  // not that of a fair coin
    }
  };
  EXPECT_THROWS(
      raise_log_likelihood(Energy(std::make_shared<Biased>()), kCoin, x, bind_sampler(&gibbs)),
      c10::ValueError, "raise_log_likelihood: base must be the distribution that the energy");
  EXPECT_THROWS(raise_log_likelihood(energy, kCoin, x / 0, bind_sampler(&gibbs)), c10::ValueError,
                "raise_log_likelihood: x must be finite");
}

}  // namespace
}  // namespace torch_ebm::raise_log_likelihood_test
