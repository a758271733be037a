#include "torch_ebm/partition/log_partition.h"

#include <torch/nn/modules/linear.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::log_partition_test {
namespace {

using testing::all_states;
using testing::close;
using testing::seeded;

TEST(LogPartition, ValueIsTheEstimateAndGradientThatOfTheNegativePhase) {
  const at::Tensor energies = at::randn({7}, seeded(1), at::kDouble).requires_grad_();
  const at::Tensor without = log_partition(energies);
  EXPECT_TRUE(close(without.detach(), -energies.detach().mean()));
  without.backward();
  EXPECT_TRUE(close(energies.grad(), at::full({7}, -1.0 / 7, at::kDouble)));

  energies.mutable_grad().reset();
  const at::Tensor log_z = at::full({}, 3.25, at::kDouble).requires_grad_();
  const at::Tensor with = log_partition(energies, log_z);
  EXPECT_EQ(with.dim(), 0);
  EXPECT_DOUBLE_EQ(with.item<double>(), 3.25);
  with.backward();
  EXPECT_TRUE(close(energies.grad(), at::full({7}, -1.0 / 7, at::kDouble)));
  EXPECT_FALSE(log_z.grad().defined());
}

TEST(LogPartition, WeightsTakeThePlaceOfTheMean) {
  const at::Tensor energies = at::randn({3}, seeded(1), at::kDouble).requires_grad_();
  const at::Tensor weights = at::tensor({1.0, 1.0, -1.0}, at::kDouble);
  const at::Tensor value = log_partition(energies, std::nullopt, weights);
  EXPECT_TRUE(close(value.detach(), -(weights * energies.detach()).sum()));
  value.backward();
  EXPECT_TRUE(at::equal(energies.grad(), -weights));
  EXPECT_DOUBLE_EQ(log_partition(energies, at::ones({}, at::kDouble), weights).item<double>(), 1);
}

TEST(LogPartition, IsInDoubleIfLogZIs) {
  const at::Tensor energies = at::ones({3});
  EXPECT_EQ(log_partition(energies).scalar_type(), at::kFloat);
  EXPECT_EQ(log_partition(energies, at::ones({}, at::kDouble)).scalar_type(), at::kDouble);
  EXPECT_EQ(log_partition(energies.to(at::kHalf)).scalar_type(), at::kFloat);
}

TEST(LogPartition, OfEnergyAndSamplesGivesGradientsToTheParametersOnly) {
  RBM rbm(4, 3);
  const at::Tensor samples = at::ones({5, 4}).requires_grad_();
  log_partition(Energy(rbm), samples).backward();
  EXPECT_FALSE(samples.grad().defined());
  // -grad F / d visible_bias = v.
  EXPECT_TRUE(close(rbm->visible_bias.grad(), at::ones({4})));
}

TEST(LogPartition, HasTheGradientOfLogZUnderExactSamples) {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  rbm->weight.detach().normal_(0, 1, seeded(2));
  rbm->log_z().backward();
  std::vector<at::Tensor> exact;
  for (at::Tensor& parameter : rbm->parameters()) {
    exact.push_back(parameter.grad().clone());
    parameter.mutable_grad().reset();
  }
  // All 16 states, as often as their probabilities say (to 1 in 4000): no sampling noise.
  const at::Tensor v = all_states(4);
  const at::Tensor p = at::softmax(-rbm->forward(v).detach(), 0);
  const at::Tensor samples = v.repeat_interleave((p * 400000).round().to(at::kLong), 0);
  log_partition(Energy(rbm), samples).backward();
  const auto parameters = rbm->parameters();
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_TRUE(close(parameters[i].grad(), exact[i], 0, 1e-4));
  }
}

TEST(LogPartition, NaNPassesThrough) {
  const at::Tensor bad = at::tensor({1.0f, NAN});
  EXPECT_TRUE(log_partition(bad).isnan().item<bool>());
  EXPECT_TRUE(log_partition(bad, at::zeros({})).isnan().item<bool>());
}

TEST(LogPartition, WrongArgumentsAreNamed) {
  EXPECT_THROWS(log_partition(at::ones({})), c10::ValueError, "must have shape (N,)");
  EXPECT_THROWS(log_partition(at::ones({2, 1})), c10::ValueError, "must have shape (N,)");
  EXPECT_THROWS(log_partition(at::ones({0})), c10::ValueError, "at least one energy");
  EXPECT_THROWS(log_partition(at::ones({2}, at::kLong)), c10::TypeError, "floating dtype");
  EXPECT_THROWS(log_partition(at::ones({2}), at::ones({1})), c10::ValueError,
                "log_z must be one number");
  EXPECT_THROWS(log_partition(at::ones({2}), std::nullopt, at::ones({3})), c10::ValueError,
                "weights must have the shape of negative_energies");
}

}  // namespace
}  // namespace torch_ebm::log_partition_test
