#include "torch_ebm/criteria/maximum_likelihood.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::maximum_likelihood_test {
namespace {

using testing::all_states;
using testing::close;

struct MaximumLikelihoodTest : ::testing::Test {
  MaximumLikelihoodTest() { rbm->to(at::kDouble); }

  at::Tensor gradient(const at::Tensor& loss) {
    rbm->weight.mutable_grad().reset();
    loss.backward();
    return rbm->weight.grad().clone();
  }

  RBM rbm{4, 3};
  at::Tensor states = all_states(4);
  at::Tensor x = states.slice(0, 3, 9);
};

TEST_F(MaximumLikelihoodTest, IsExactWithALogZThatIs) {
  const at::Tensor terms =
      maximum_likelihood(Energy(rbm), x, {.reduction = "none"}, {.log_z = rbm->log_z()});
  const at::Tensor log_p = at::log_softmax(-rbm->forward(states), 0).slice(0, 3, 9);
  EXPECT_TRUE(close(terms, -log_p, 1e-12));
  EXPECT_TRUE(close(gradient(terms.sum()), gradient(-log_p.sum()), 1e-10, 1e-14));
}

TEST_F(MaximumLikelihoodTest, HasTheGradientOfItsNegativeSamples) {
  const at::Tensor p = at::softmax(-rbm->forward(states).detach(), 0);
  const at::Tensor exact = maximum_likelihood(Energy(rbm), x, {}, {.log_z = rbm->log_z()});
  const at::Tensor sampled =
      maximum_likelihood(Energy(rbm), x, {}, {states, rbm->log_z().detach(), p});
  EXPECT_TRUE(close(sampled, exact, 1e-12));
  EXPECT_TRUE(close(gradient(sampled), gradient(exact), 1e-10, 1e-14));
}

TEST_F(MaximumLikelihoodTest, WrongOptionsAreNamed) {
  EXPECT_THROWS(maximum_likelihood(Energy(rbm), x, {}, {}), c10::ValueError, "got neither");
  EXPECT_THROWS(maximum_likelihood(Energy(rbm), x, {}, {.negative_samples = all_states(3)}),
                c10::ValueError, "negative_samples must have shape");
}

TEST_F(MaximumLikelihoodTest, TakesItsOptionsAlone) {
  const at::Tensor alone = maximum_likelihood(Energy(rbm), x, {.negative_samples = states});
  EXPECT_TRUE(
      close(alone, maximum_likelihood(Energy(rbm), x, {}, {.negative_samples = states}), 0.0));
}

}  // namespace
}  // namespace torch_ebm::maximum_likelihood_test
