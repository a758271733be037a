#include "torch_ebm/criteria/pseudolikelihood.h"

#include <torch/csrc/autograd/autograd.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/boltzmann_machine.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::pseudolikelihood_test {
namespace {

using testing::all_states;
using testing::close;
using testing::seeded;

at::Tensor flipped(const at::Tensor& x, int64_t unit) {
  at::Tensor y = x.clone();
  y.select(1, unit).neg_().add_(1);
  return y;
}

/// sum_i log(1 + exp(E(x) - E(x^i)))
template <typename Model>
at::Tensor by_definition(const Model& model, const at::Tensor& x) {
  at::Tensor sum = at::zeros({x.size(0)}, x.options());
  for (int64_t i = 0; i < x.size(1); ++i) {
    sum = sum + at::softplus(model->forward(x) - model->forward(flipped(x, i)));
  }
  return sum;
}

RBM some_rbm() {
  RBM rbm(5, 4);
  rbm->to(at::kDouble);
  const at::NoGradGuard no_grad;
  rbm->weight.copy_(at::randn({5, 4}, seeded(1), at::kDouble));
  rbm->visible_bias.copy_(at::randn({5}, seeded(2), at::kDouble));
  return rbm;
}

TEST(Pseudolikelihood, IsItsDefinitionForAModuleWithFlipDifferencesAndForALambda) {
  const RBM rbm = some_rbm();
  const at::Tensor x = all_states(5, at::kDouble);
  const at::Tensor expected = by_definition(rbm, x);
  const Energy lambda([rbm](const at::Tensor& y) { return rbm->forward(y); });
  for (const Energy& energy : {Energy(rbm), lambda}) {
    EXPECT_TRUE(close(pseudolikelihood(energy, x, {.reduction = "none"}), expected, 1e-12));
    EXPECT_TRUE(close(pseudolikelihood(energy, x), expected.mean(), 1e-12));
  }
}

TEST(Pseudolikelihood, OfABoltzmannMachine) {
  BoltzmannMachine machine(5);
  machine->to(at::kDouble);
  {
    const at::NoGradGuard no_grad;
    machine->weight.copy_(at::randn({5, 5}, seeded(3), at::kDouble));
  }
  const at::Tensor x = all_states(5, at::kDouble);
  const at::Tensor value = pseudolikelihood(Energy(machine), x, {.reduction = "none"});
  EXPECT_TRUE(close(value, by_definition(machine, x), 1e-12));
}

TEST(Pseudolikelihood, GradientsAreTheSameForAnyChunk) {
  const RBM rbm = some_rbm();
  const at::Tensor x = all_states(5, at::kDouble);
  const Energy energy([rbm](const at::Tensor& y) { return rbm->forward(y); });
  const auto gradient = [&](const at::Tensor& value) {
    return torch::autograd::grad({value}, {rbm->weight, rbm->hidden_bias});
  };
  const auto expected = gradient(by_definition(rbm, x).mean());
  for (const auto chunk_size : {std::optional<int64_t>(), std::optional<int64_t>(32),
                                std::optional<int64_t>(64), std::optional<int64_t>(1)}) {
    const auto found = gradient(pseudolikelihood(energy, x, {}, {.chunk_size = chunk_size}));
    EXPECT_TRUE(close(found[0], expected[0], 1e-10, 1e-12));
    EXPECT_TRUE(close(found[1], expected[1], 1e-10, 1e-12));
  }
  const auto own = gradient(pseudolikelihood(Energy(rbm), x));
  EXPECT_TRUE(close(own[0], expected[0], 1e-10, 1e-12));
  EXPECT_TRUE(close(own[1], expected[1], 1e-10, 1e-12));
}

TEST(Pseudolikelihood, TakesWeightsBlocksAndAGenerator) {
  const RBM rbm = some_rbm();
  const Energy energy(rbm);
  const at::Tensor x = all_states(5, at::kDouble);
  const at::Tensor w = at::rand({32}, seeded(4), at::kDouble);
  const at::Tensor terms = pseudolikelihood(energy, x, {.reduction = "none"});
  EXPECT_TRUE(close(pseudolikelihood(energy, x, {.weights = w}), (w * terms).sum() / w.sum()));
  EXPECT_TRUE(
      close(pseudolikelihood(energy, x, {.weights = w, .reduction = "sum"}), (w * terms).sum()));

  const at::Tensor all_units = at::arange(5, at::kLong).unsqueeze(0);
  EXPECT_TRUE(close(pseudolikelihood(energy, x, {}, {.blocks = all_units}),
                    rbm->forward(x).mean() + rbm->log_z(), 1e-12));

  const auto estimate = [&](uint64_t seed) {
    return pseudolikelihood(energy, x, {.generator = seeded(seed)}, {.n_sites = 2});
  };
  EXPECT_TRUE(at::equal(estimate(1), estimate(1)));
  EXPECT_FALSE(at::equal(estimate(1), estimate(2)));
}

TEST(Pseudolikelihood, RefusesBadInput) {
  const Energy energy(some_rbm());
  const at::Tensor x = all_states(5, at::kDouble);
  EXPECT_THROWS(pseudolikelihood(energy, x + 0.5), c10::ValueError, "pseudolikelihood: x must");
  EXPECT_THROWS(pseudolikelihood(energy, x.slice(0, 0, 0)), c10::ValueError,
                "pseudolikelihood: x must");
  EXPECT_THROWS(pseudolikelihood(energy, x, {.reduction = "median"}), c10::ValueError,
                "pseudolikelihood: reduction must");
  EXPECT_THROWS(pseudolikelihood(energy, x, {.weights = at::ones({3})}), c10::ValueError,
                "pseudolikelihood: weights must");
  EXPECT_THROWS(pseudolikelihood(energy, x, {}, {.n_sites = 6}), c10::ValueError,
                "pseudolikelihood: n_sites must be between 1 and 5, got 6");
}

}  // namespace
}  // namespace torch_ebm::pseudolikelihood_test
