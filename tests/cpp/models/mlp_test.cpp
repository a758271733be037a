#include "torch_ebm/models/mlp.h"

#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/langevin.h"

namespace torch_ebm::mlp_test {
namespace {

using testing::close;
using testing::seeded;

MLP make_mlp(std::vector<int64_t> sizes, MLPOptions options = {},
             at::ScalarType dtype = at::kDouble) {
  MLP mlp(std::move(sizes), std::move(options));
  mlp->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(1);
  for (at::Tensor& parameter : mlp->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator));
  }
  return mlp;
}

/// The energy as nothing but a function: scores go through autograd.
Energy by_autograd(const MLP& mlp) {
  return Energy([mlp](const at::Tensor& x) { return mlp->forward(x); });
}

class EveryActivation : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(MLP, EveryActivation, ::testing::Values("silu", "softplus", "tanh"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(EveryActivation, ScoresAreThoseOfAutograd) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{4, 9, 1}, {4, 40, 33, 8, 1}, {1, 300, 300, 1}}) {
    const MLP mlp = make_mlp(sizes, {.activation = GetParam(), .confinement = 0.5});
    for (int64_t n : {1, 70}) {
      const at::Tensor x = at::randn({n, sizes[0]}, seeded(2), at::kDouble);
      const auto [energy, score] = Energy(mlp).value_and_score(x);
      const auto [expected_energy, expected_score] = by_autograd(mlp).value_and_score(x);
      EXPECT_TRUE(close(energy, expected_energy, 1e-11, 1e-11));
      EXPECT_TRUE(close(score, expected_score, 1e-11, 1e-11));
    }
  }
}

TEST(MLP, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const MLP mlp = make_mlp({6, 50, 50, 1}, {}, at::kFloat);
  const at::Tensor x = at::randn({300, 6}, seeded(3));
  const auto run = [&](int64_t n) {
    const auto [energy, score] = mlp->value_and_score(x.slice(0, 0, n));
    return at::cat({energy.unsqueeze(1), score}, 1);
  };
  testing::expect_same_for_any_threads_and_chains(run, 300);
}

TEST(MLP, LangevinIsThatOfAutograd) {
  const MLP mlp = make_mlp({3, 16, 16, 1}, {.confinement = 1});
  const at::Tensor start = at::zeros({40, 3}, at::kDouble);
  const auto run = [&](const Energy& energy) {
    return langevin(energy, start, {.n_steps = 20, .generator = seeded(4)}, {.step_size = 0.01}).x;
  };
  EXPECT_TRUE(close(run(Energy(mlp)), run(by_autograd(mlp)), 1e-9, 1e-9));
}

TEST(MLP, AnEmptyBatchIsServed) {
  const auto [energy, score] = make_mlp({3, 4, 1})->value_and_score(at::empty({0, 3}, at::kDouble));
  EXPECT_EQ(energy.sizes(), (std::vector<int64_t>{0}));
  EXPECT_EQ(score.sizes(), (std::vector<int64_t>{0, 3}));
}

TEST(MLP, WrongArgumentsAreNamed) {
  EXPECT_THROWS(MLP(std::vector<int64_t>{3, 1}), c10::ValueError, "got [3, 1]");
  EXPECT_THROWS(MLP(std::vector<int64_t>{3, 0, 1}), c10::ValueError, "all positive");
  EXPECT_THROWS(MLP(std::vector<int64_t>{3, 2, 1}, MLPOptions{.activation = "relu"}),
                c10::ValueError,
                "MLP: activation must be 'silu', 'softplus' or 'tanh', got 'relu'");
  EXPECT_THROWS(MLP(std::vector<int64_t>{3, 2, 1}, MLPOptions{.confinement = -1}), c10::ValueError,
                "MLP: confinement must be >= 0 and finite, got -1");
  const MLP mlp = make_mlp({3, 4, 1});
  EXPECT_THROWS(mlp->forward(at::zeros({3}, at::kDouble)), c10::ValueError, "got (3,)");
  EXPECT_THROWS(mlp->value_and_score(at::zeros({2, 4}, at::kDouble)), c10::ValueError,
                "mlp_value_and_score: x must have shape (N, D) = (any, 3), got (2, 4)");
}

TEST(MLP, SavesLoadsAndClones) {
  const MLPOptions options{.activation = "tanh", .confinement = 0.5};
  const MLP mlp = make_mlp({3, 4, 2, 1}, options, at::kFloat);
  std::stringstream stream;
  torch::save(mlp, stream);
  MLP loaded(std::vector<int64_t>{3, 4, 2, 1}, options);
  torch::load(loaded, stream);
  const auto copy = std::dynamic_pointer_cast<MLPImpl>(mlp->clone());
  ASSERT_TRUE(copy);
  const at::Tensor x = at::randn({5, 3}, seeded(5));
  EXPECT_TRUE(at::equal(loaded->forward(x), mlp->forward(x)));
  EXPECT_TRUE(at::equal(copy->forward(x), mlp->forward(x)));
  EXPECT_EQ(mlp->named_parameters().keys(),
            (std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.2.weight",
                                      "layers.2.bias", "layers.4.weight", "layers.4.bias"}));
  std::stringstream text;
  mlp->pretty_print(text);
  EXPECT_EQ(text.str(), "torch_ebm::MLP(sizes=[3, 4, 2, 1], activation=tanh, confinement=0.5)");
}

}  // namespace
}  // namespace torch_ebm::mlp_test
