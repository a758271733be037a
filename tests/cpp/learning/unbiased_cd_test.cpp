#include "torch_ebm/learning/unbiased_cd.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/log_partition.h"

namespace torch_ebm::unbiased_cd_test {
namespace {

using testing::all_states;
using testing::close;
using testing::mean_is;
using testing::seeded;

RBM make_rbm() {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  rbm->weight.detach().normal_(0, 2, seeded(1));
  return rbm;
}

/// Its own steps flip the first unit where the second is one.
struct Flipping : EnergyFunction {
  at::Tensor value(const at::Tensor& x) const override { return 0 * x.sum(1); }
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions&,
                                  const std::optional<at::Tensor>&) const override {
    at::Tensor y = x.clone();
    y.select(1, 0).add_(x.select(1, 1)).remainder_(2);
    return y;
  }
};

TEST(UnbiasedCD, HasTheMeansOfTheModel) {
  RBM rbm = make_rbm();
  const at::Tensor v = all_states(4);
  const at::Tensor exact = at::mv(v.t(), at::softmax(-rbm->forward(v).detach(), 0));
  const int64_t n = 20000;
  const at::Tensor start = at::ones({n, 4}, at::kDouble);
  const UnbiasedSamples samples = unbiased_cd(Energy(rbm), start, {.n_steps = 2}, seeded(2));
  EXPECT_TRUE(close(samples.weights.sum(), at::ones({}, at::kDouble), 1e-9));
  for (int64_t unit = 0; unit < 4; ++unit) {
    const at::Tensor terms = static_cast<double>(n) * samples.weights * samples.x.select(1, unit);
    const at::Tensor estimates = at::zeros({n}, at::kDouble).index_add(0, samples.chain, terms);
    EXPECT_TRUE(mean_is(estimates, exact[unit].item<double>()));
  }
}

TEST(UnbiasedCD, GivesSamplesWeightsAndStarts) {
  RBM rbm = make_rbm();
  const Energy energy(rbm);
  const at::Tensor data = all_states(4).repeat({20, 1});
  UnbiasedCD ucd(UnbiasedCDOptions{.n_steps = 2}, 1);
  const at::Tensor negative = ucd(energy, data);
  const UnbiasedSamples expected = unbiased_cd(energy, data, {.n_steps = 2}, seeded(1));
  EXPECT_GT(negative.size(0), data.size(0));
  EXPECT_TRUE(at::equal(negative, expected.x));
  EXPECT_TRUE(at::equal(ucd->weights, expected.weights));
  EXPECT_TRUE(at::equal(ucd->start, data.index_select(0, expected.chain)));
  EXPECT_FALSE(at::equal(ucd(energy, data), negative));
}

TEST(UnbiasedCD, CountsTheChainsThatDoNotMeet) {
  const Energy energy(std::make_shared<Flipping>());
  UnbiasedCD ucd(UnbiasedCDOptions{.max_steps = 7}, 1);
  const at::Tensor state = ucd->generator_state.clone();
  EXPECT_THROWS(ucd(energy, all_states(3).slice(0, 0, 5)), c10::Error,
                "2 of 5 chains have not met after max_steps = 7 steps");
  EXPECT_TRUE(at::equal(ucd->generator_state, state));
  EXPECT_FALSE(ucd->start.defined() || ucd->weights.defined());
}

TEST(UnbiasedCD, WrongArgumentsAreNamed) {
  const Energy energy(make_rbm());
  const at::Tensor x = all_states(4);
  EXPECT_THROWS(unbiased_cd(energy, x, {.n_steps = 0}), c10::ValueError,
                "n_steps must be at least");
  EXPECT_THROWS(unbiased_cd(energy, x, {.n_steps = 5, .max_steps = 4}), c10::ValueError,
                "max_steps must be at least 5");
  EXPECT_THROWS(unbiased_cd(energy, x * 0.5), c10::ValueError, "x must");
  EXPECT_THROWS(unbiased_cd(energy, x.slice(0, 0, 0)), c10::ValueError, "at least one chain");
  EXPECT_THROWS(UnbiasedCD()(energy), c10::ValueError, "positive must be the batch of data");
}

}  // namespace
}  // namespace torch_ebm::unbiased_cd_test
