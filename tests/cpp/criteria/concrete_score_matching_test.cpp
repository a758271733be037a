#include "torch_ebm/criteria/concrete_score_matching.h"

#include <torch/csrc/autograd/autograd.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::concrete_score_matching_test {
namespace {

using testing::all_states;
using testing::close;

TEST(ConcreteScoreMatching, IsItsFormulaInTheDifferences) {
  const at::Tensor x = all_states(3);
  const at::Tensor a = at::tensor({0.5, -1.0, 0.25}, at::kDouble).requires_grad_();
  const Energy energy([a](const at::Tensor& y) { return at::mv(y, a); });
  const at::Tensor d = (1 - 2 * x) * a;
  const at::Tensor expected = (at::exp(-2 * d) - 2 * at::exp(d) + 1).sum(1);
  const at::Tensor terms = concrete_score_matching(energy, x, {.reduction = "none"});
  EXPECT_TRUE(close(terms, expected, 1e-12));
  const at::Tensor gradient = torch::autograd::grad({expected.sum()}, {a})[0];
  terms.sum().backward();
  EXPECT_TRUE(close(a.grad(), gradient, 1e-12));
}

TEST(ConcreteScoreMatching, HasItsLeastValueAtTheTruth) {
  const at::Tensor x = all_states(1);
  const at::Tensor p = at::tensor({0.3, 0.7}, at::kDouble);
  const at::Tensor ratio = p[1] / p[0] - 1, back = p[0] / p[1] - 1;
  const at::Tensor norm = p[0] * ratio.square() + p[1] * back.square();
  const auto value = [&](double b) {
    const Energy energy([b](const at::Tensor& y) { return b * y.sum(1); });
    return concrete_score_matching(energy, x, {.weights = p});
  };
  const double truth = std::log(0.3 / 0.7);
  EXPECT_TRUE(close(value(truth), -norm, 1e-12));
  EXPECT_GT(value(truth + 0.01).item<double>(), value(truth).item<double>());
  EXPECT_GT(value(truth - 0.01).item<double>(), value(truth).item<double>());
}

TEST(ConcreteScoreMatching, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& y) { return y.flatten(1).sum(1); });
  const at::Tensor x = all_states(3);
  EXPECT_THROWS(concrete_score_matching(energy, 2 * x), c10::ValueError, "x must hold zeros");
  EXPECT_THROWS(concrete_score_matching(energy, x, {}, {.categorical = true}), c10::ValueError,
                "concrete_score_matching: x must");
  EXPECT_THROWS(concrete_score_matching(energy, x, {}, {.n_sites = 0}), c10::ValueError,
                "n_sites must be between 1 and 3, got 0");
}

}  // namespace
}  // namespace torch_ebm::concrete_score_matching_test
