#include "torch_ebm/energy/energy.h"

#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/nn/modules/linear.h>

#include "tests/cpp/testing.h"
#include "torch_ebm/models/boltzmann_machine.h"
#include "torch_ebm/models/mlp.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/annealing/ais.h"

namespace torch_ebm::energy_test {
namespace {

using testing::close;
using testing::seeded;

at::Tensor quadratic(const at::Tensor& x) { return x.square().sum(1) / 2; }

struct NetworkImpl : torch::nn::Module {
  NetworkImpl() {
    register_module("hidden", hidden);
    register_module("out", out);
  }
  at::Tensor forward(const at::Tensor& x) { return out(at::tanh(hidden(x))).squeeze(1); }
  torch::nn::Linear hidden{3, 8};
  torch::nn::Linear out{8, 1};
};
TORCH_MODULE(Network);

torch::jit::Module script(const std::string& source) {
  torch::jit::Module module("m");
  module.register_parameter("w", at::tensor({1.0f, 2.0f, 3.0f}), /*is_buffer=*/false);
  module.define(source + "\n");
  return module;
}

TEST(Energy, OfALambda) {
  const Energy energy(quadratic);
  const at::Tensor x = at::randn({5, 3}, seeded(1));
  EXPECT_TRUE(close(energy.value(x), quadratic(x)));
  const auto [value, score] = energy.value_and_score(x);
  EXPECT_TRUE(close(value, quadratic(x)));
  EXPECT_TRUE(close(score, -x));
  EXPECT_FALSE(value.requires_grad());
  EXPECT_FALSE(score.requires_grad());
  EXPECT_FALSE(energy.gibbs(x, {}).has_value());
}

TEST(Energy, OfAModuleAndItsHolderSharesTheParameters) {
  Network network;
  const Energy of_holder(network);
  const Energy of_pointer(network.ptr());
  const Energy copy = of_holder;
  const at::Tensor x = at::randn({5, 3}, seeded(1));
  EXPECT_TRUE(close(of_holder.value(x), network->forward(x)));
  {
    const at::NoGradGuard no_grad;
    network->hidden->weight.add_(1);
  }
  for (const Energy& energy : {of_holder, of_pointer, copy}) {
    EXPECT_TRUE(close(energy.value(x), network->forward(x)));
  }
  of_holder.value(x).sum().backward();
  EXPECT_TRUE(network->out->weight.grad().defined());
}

TEST(Energy, ScoreLeavesParametersAndInputAlone) {
  Network network;
  const at::Tensor x = at::randn({5, 3}, seeded(1)).requires_grad_();
  const at::Tensor before = x.detach().clone();
  const auto [value, score] = Energy(network).value_and_score(x);
  for (const at::Tensor& parameter : network->parameters())
    EXPECT_FALSE(parameter.grad().defined());
  EXPECT_FALSE(x.grad().defined());
  EXPECT_TRUE(at::equal(x, before));
  EXPECT_FALSE(score.requires_grad());
}

TEST(Energy, ScoreNeedsNoGradModeOfTheCaller) {
  Network network;
  const at::Tensor x = at::randn({5, 3}, seeded(1));
  const at::Tensor expected = std::get<1>(Energy(network).value_and_score(x));
  {
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(std::get<1>(Energy(network).value_and_score(x)), expected));
    EXPECT_FALSE(at::GradMode::is_enabled());
  }
  const c10::InferenceMode inference;
  const at::Tensor made_here = x.clone();
  ASSERT_TRUE(made_here.is_inference());
  EXPECT_TRUE(close(std::get<1>(Energy(network).value_and_score(made_here)), expected));
}

at::Tensor extra_term(const at::Tensor& x) { return 3 * x.select(1, 0) * x.select(1, 1); }

template <typename Impl>
struct Extra : Impl {
  using Impl::Impl;
  at::Tensor forward(const at::Tensor& x) const override {
    return Impl::forward(x) + extra_term(x);
  }
};

struct SameRBM : RBMImpl {
  using RBMImpl::RBMImpl;
  bool keeps_energy() const override { return true; }
};

template <typename Module>
void expect_energy_of_forward(const std::shared_ptr<Module>& module) {
  const at::Tensor x = at::bernoulli(at::full({6, 4}, 0.5), seeded(4));
  const Energy energy(module);
  const Energy expected([&](const at::Tensor& v) { return module->forward(v); });
  EXPECT_TRUE(close(energy.value(x), expected.value(x)));
  EXPECT_TRUE(
      close(std::get<1>(energy.value_and_score(x)), std::get<1>(expected.value_and_score(x))));
  EXPECT_TRUE(close(energy.value(x, at::full({}, 0.5)), expected.value(x, at::full({}, 0.5))));
  EXPECT_FALSE(energy.gibbs(x, {}).has_value());
  EXPECT_FALSE(energy.gibbs_with_gradients(x, {}).has_value());
  EXPECT_FALSE(energy.flip_differences(x).has_value());
}

TEST(Energy, OfADerivedModelIsItsForwardWithoutTheClosedForms) {
  const auto rbm = std::make_shared<Extra<RBMImpl>>(4, 3);
  expect_energy_of_forward(rbm);
  expect_energy_of_forward(std::static_pointer_cast<RBMImpl>(rbm));
  expect_energy_of_forward(std::make_shared<Extra<BoltzmannMachineImpl>>(4));
  expect_energy_of_forward(std::make_shared<Extra<MLPImpl>>(std::vector<int64_t>{4, 5, 1}));
  EXPECT_THROWS(rbm->log_z(), c10::NotImplementedError, "a class derived from RBM");
  EXPECT_THROWS(rbm->sample(3), c10::NotImplementedError, "a class derived from RBM");
  EXPECT_THROWS(ais(RBM(std::shared_ptr<RBMImpl>(rbm))), c10::NotImplementedError,
                "ais: a class derived from RBM");
  EXPECT_TRUE(Energy(std::make_shared<SameRBM>(4, 3)).gibbs(at::zeros({2, 4}), {}).has_value());
}

TEST(Energy, OfAnRBMHasItsScoreAndItsGibbsSampler) {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  torch::NoGradGuard no_grad;
  rbm->weight.normal_(0, 1, seeded(2));
  rbm->hidden_bias.normal_(0, 1, seeded(3));
  const at::Tensor v = at::bernoulli(at::full({6, 4}, 0.5, at::kDouble), seeded(4));
  const Energy energy(rbm);
  const auto [value, score] = energy.value_and_score(v);
  const auto [value_by_autograd, score_by_autograd] =
      Energy([&](const at::Tensor& x) { return rbm->forward(x); }).value_and_score(v);
  EXPECT_TRUE(close(value, value_by_autograd));
  EXPECT_TRUE(close(score, score_by_autograd));
  RunOptions options{.n_steps = 2, .generator = seeded(5)};
  const auto states = energy.gibbs(v, options);
  ASSERT_TRUE(states.has_value());
  options.generator = seeded(5);
  EXPECT_TRUE(at::equal(*states, std::get<0>(rbm_gibbs(v, rbm->weight, rbm->visible_bias,
                                                       rbm->hidden_bias, options))));
}

TEST(Energy, OfAScriptedModuleSharesTheParameters) {
  torch::jit::Module module = script("def forward(self, x): return (x * self.w).square().sum(1)");
  const Energy energy(module);
  const at::Tensor x = at::randn({5, 3}, seeded(1));
  const at::Tensor w = module.attr("w").toTensor();
  EXPECT_TRUE(close(energy.value(x), (x * w).square().sum(1)));
  EXPECT_TRUE(close(std::get<1>(energy.value_and_score(x)), -2 * x * w.square()));
  {
    const at::NoGradGuard no_grad;
    w.add_(1);
  }
  EXPECT_TRUE(close(energy.value(x), (x * w).square().sum(1)));
  EXPECT_FALSE(energy.gibbs(x, {}).has_value());
  EXPECT_TRUE(close(Energy::from_ivalue("op", module._ivalue()).value(x), energy.value(x)));
}

TEST(Energy, OfAScriptedModuleUsesItsGibbsMethod) {
  torch::jit::Module module = script(R"(
def forward(self, x):
    return (x * self.w).sum(1)
def gibbs(self, x, n_steps: int, beta: Optional[Tensor], clamp: Optional[Tensor],
          generator: Optional[Generator]):
    return x + n_steps
)");
  const at::Tensor x = at::zeros({2, 3});
  const auto states = Energy(module).gibbs(x, {.n_steps = 7, .generator = seeded(1)});
  ASSERT_TRUE(states.has_value());
  EXPECT_TRUE(at::equal(*states, x + 7));
}

TEST(Energy, WrongScriptsAreNamed) {
  torch::jit::Module empty("m");
  EXPECT_THROWS(Energy{empty}, c10::ValueError, "must have a method forward(x)");
  const at::Tensor x = at::zeros({2, 3});
  EXPECT_THROWS(Energy(script("def forward(self, x): return 1")).value(x), c10::TypeError,
                "forward must return a tensor of shape (N,), got Int");
  const Energy bad_gibbs(
      script("def forward(self, x): return x.sum(1)\n"
             "def gibbs(self, x, n_steps: int, beta: Optional[Tensor], clamp: Optional[Tensor],"
             " generator: Optional[Generator]): return x[0]"));
  EXPECT_THROWS(bad_gibbs.gibbs(x, {}), c10::ValueError,
                "must return the shape of x, (2, 3), got (3,)");
}

TEST(Energy, WrongValuesAreNamed) {
  const at::Tensor x = at::zeros({4, 3});
  EXPECT_THROWS(Energy([](const at::Tensor& y) { return y.sum(1, true); }).value(x),
                c10::ValueError, "must have shape (N,) = (4,), got (4, 1)");
  EXPECT_THROWS(Energy([](const at::Tensor& y) { return y.sum(); }).value(x), c10::ValueError,
                "got ()");
  EXPECT_THROWS(Energy([](const at::Tensor& y) { return y.sum(1).to(at::kLong); }).value(x),
                c10::TypeError, "must have a floating dtype, got Long");
  EXPECT_THROWS(Energy([](const at::Tensor&) { return at::Tensor(); }).value(x), c10::ValueError,
                "must be a tensor, got none");
}

TEST(Energy, WithoutGradientHasNoScore) {
  const at::Tensor x = at::zeros({4, 3});
  const Energy constant([](const at::Tensor& y) { return at::zeros({y.size(0)}); });
  EXPECT_THROWS(constant.value_and_score(x), c10::ValueError, "must depend differentiably on x");
  const at::Tensor w = at::ones({4}).requires_grad_();
  const Energy elsewhere([w](const at::Tensor&) { return w * 2; });
  EXPECT_THROWS(elsewhere.value_and_score(x), c10::ValueError, "must depend differentiably on x");
}

TEST(Energy, OfNothingIsRefused) {
  EXPECT_THROWS(Energy(std::shared_ptr<const EnergyFunction>()), c10::ValueError,
                "must not be null");
  EXPECT_THROWS(Energy(std::shared_ptr<RBMImpl>()), c10::ValueError, "must not be null");
  EXPECT_THROWS(Energy(std::shared_ptr<NetworkImpl>()), c10::ValueError, "must not be null");
  EXPECT_THROWS(Energy(std::function<at::Tensor(const at::Tensor&)>()), c10::ValueError,
                "must not be null");
}

TEST(Energy, ExceptionsKeepTheirType) {
  struct Custom : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  const Energy energy([](const at::Tensor&) -> at::Tensor { throw Custom("broken"); });
  EXPECT_THROWS(energy.value(at::zeros({1, 1})), Custom, "broken");
  EXPECT_THROWS(energy.value_and_score(at::zeros({1, 1})), Custom, "broken");
  EXPECT_TRUE(at::GradMode::is_enabled());
}

TEST(Energy, ThatItHasAPathIsFoundWithoutEvaluatingItAtZero) {
  struct Path : EnergyFunction {
    at::Tensor value(const at::Tensor& x) const override { return x.sum(1); }
    std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const override {
      TORCH_CHECK_VALUE(beta.gt(0).all().item<bool>(), "undefined at 0");
      return x.sum(1) / beta;
    }
  };
  EXPECT_TRUE(Energy(std::make_shared<Path>()).has_path(at::zeros({2, 3})));
  EXPECT_FALSE(Energy([](const at::Tensor& x) { return x.sum(1); }).has_path(at::zeros({2, 3})));
}

TEST(Energy, OfAHandleNeedsPython) {
  const Energy energy = Energy::from_ivalue("op", c10::IValue(int64_t{3}));
  EXPECT_THROWS(energy.value(at::zeros({1, 1})), c10::NotImplementedError,
                "pass a scripted module");
  EXPECT_THROWS(energy.gibbs(at::zeros({1, 1}), {}), c10::NotImplementedError,
                "pass a scripted module");
  EXPECT_THROWS(Energy::from_ivalue("op", c10::IValue("energy")), c10::TypeError,
                "op: energy must be a scripted module or the handle of a registered callable");
}

}  // namespace
}  // namespace torch_ebm::energy_test
