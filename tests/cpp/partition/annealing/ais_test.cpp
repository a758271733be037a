#include "torch_ebm/partition/annealing/ais.h"

#include <ATen/Parallel.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/rbm_ais.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::ais_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::mean_is;
using testing::seeded;
using testing::state_counts;

RBM make_rbm(int64_t n_visible, int64_t n_hidden, at::ScalarType dtype = at::kDouble) {
  RBM rbm(n_visible, n_hidden);
  rbm->to(dtype);
  const torch::NoGradGuard no_grad;
  at::Generator generator = seeded(1);
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator, at::kDouble));
  }
  return rbm;
}

at::Tensor betas(int64_t n) { return at::linspace(0, 1, n, at::kDouble); }

double base_log_z(const at::Tensor& base, int64_t n_hidden) {
  return at::log1p(at::exp(base.to(at::kDouble))).sum().item<double>() +
         static_cast<double>(n_hidden) * std::log(2.0);
}

TEST(AIS, WeightsAreUnbiasedForZ) {
  // With few temperatures the weights vary much, and are still unbiased: E[w] = Z / Z_base.
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const RBM rbm = make_rbm(5, 4, dtype);
    for (const at::Tensor& base : {rbm->visible_bias.detach(), at::zeros({5}, dtype)}) {
      const auto [log_weights, states] = rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias,
                                                 base, betas(4), 100000, seeded(2));
      EXPECT_EQ(log_weights.scalar_type(), at::kDouble);
      const double log_ratio = rbm->log_z().item<double>() - base_log_z(base, 4);
      EXPECT_TRUE(mean_is(at::exp(log_weights - log_ratio), 1));
    }
  }
}

TEST(AIS, OneTemperatureIsImportanceSampling) {
  // K = 1: the state is an exact draw of the base, its weight is f(v) / f_base(v).
  const RBM rbm = make_rbm(3, 2);
  const at::Tensor base = at::zeros({3}, at::kDouble);
  const auto [log_weights, states] =
      rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base, betas(2), 50000, seeded(3));
  const at::Tensor v = all_states(3);
  const at::Tensor possible = -rbm->forward(v).detach() - 2 * std::log(2.0);
  const at::Tensor distance = (log_weights.unsqueeze(1) - possible).abs();
  EXPECT_LT(std::get<0>(distance.min(1)).max().item<double>(), 1e-10);
  EXPECT_TRUE(counts_fit(at::bincount(distance.argmin(1), {}, 8), at::ones({8})));
}

TEST(AIS, LastStatesOfManyTemperaturesFollowTheModel) {
  const RBM rbm = make_rbm(4, 3);
  const auto [log_weights, states] = rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias,
                                             rbm->visible_bias, betas(200), 10000, seeded(4));
  EXPECT_TRUE(
      counts_fit(state_counts(states), at::softmax(-rbm->forward(all_states(4)).detach(), 0)));
}

TEST(AIS, EstimatesLogZWithAnErrorThatCanBeBelieved) {
  const RBM rbm = make_rbm(12, 8);
  const double exact = rbm->log_z().item<double>();
  const LogZEstimate estimate = ais(rbm, {.n_chains = 200, .generator = seeded(5)});
  EXPECT_LT(std::abs(estimate.log_z.item<double>() - exact),
            testing::kMaxZ * estimate.std_error.item<double>());
  EXPECT_LT(estimate.std_error.item<double>(), 0.05);
  EXPECT_LT(estimate.lower.item<double>(), estimate.log_z.item<double>());
  EXPECT_GT(estimate.upper.item<double>(), estimate.log_z.item<double>());
  EXPECT_GT(estimate.ess.item<double>(), 100);
  EXPECT_EQ(estimate.log_weights.size(0), 200);
}

TEST(AIS, IsExactWhereTheModelIsItsOwnBase) {
  RBM rbm(6, 4);
  rbm->weight.detach().zero_();
  const LogZEstimate estimate = ais(rbm, {.n_chains = 5, .betas = betas(3)});
  EXPECT_NEAR(estimate.log_z.item<double>(), 10 * std::log(2.0), 1e-6);
  EXPECT_NEAR(estimate.ess.item<double>(), 5, 1e-6);
}

TEST(AIS, DoesNotDependOnThreadsOrTheNumberOfChains) {
  const RBM rbm = make_rbm(100, 60, at::kFloat);
  const auto run = [&](int64_t n) {
    return std::get<1>(rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, rbm->visible_bias,
                               betas(5), n, seeded(6)));
  };
  testing::expect_same_for_any_threads_and_chains(run, 1500);
}

TEST(AIS, WrongArgumentsAreNamed) {
  const RBM rbm = make_rbm(3, 2);
  const auto run = [&](const at::Tensor& schedule, int64_t n_chains = 2) {
    return ais(rbm, {.n_chains = n_chains, .betas = schedule});
  };
  EXPECT_THROWS(run(at::ones({1})), c10::ValueError, "at least two temperatures");
  EXPECT_THROWS(run(at::tensor({0.0, 0.5})), c10::ValueError, "must rise strictly from 0 to 1");
  EXPECT_THROWS(run(at::tensor({0.0, 0.5, 0.5, 1.0})), c10::ValueError, "must rise strictly");
  EXPECT_THROWS(run(at::tensor({1.0, 0.0})), c10::ValueError, "must rise strictly from 0 to 1");
  EXPECT_THROWS(run(betas(3), 1), c10::ValueError, "n_chains must be at least 2");
  EXPECT_THROWS(ais(rbm, {}, at::zeros({4}, at::kDouble)), c10::ValueError,
                "base_visible_bias must have shape (V,) = (3,)");
  rbm->weight.detach()[0][0] = NAN;
  EXPECT_THROWS(run(betas(3)), c10::ValueError, "weight must be finite");
}

/// exp(-|x|^2 s) in two dimensions, from a normal law: the same with s = 1/2 and its exact log Z.
NoiseDistribution normal_base() {
  return {
      .sample =
          [](int64_t n, const std::optional<at::Generator>& generator) {
            return at::randn({n, 2}, generator, at::TensorOptions(at::kDouble));
          },
      .log_prob = [](const at::Tensor& x) { return -x.square().sum(1) / 2 - std::log(2 * M_PI); }};
}

Energy narrow() {
  return Energy(std::function<at::Tensor(const at::Tensor&)>(
      [](const at::Tensor& x) { return 4 * x.square().sum(1); }));
}

const double kNarrowLogZ = std::log(M_PI / 4);

TEST(AIS, OfAnyEnergyFromAnyBase) {
  const Sampler sampler = bind_sampler(&mala, {.n_steps = 2}, {.step_size = 0.05});
  const AISOptions options{.n_chains = 500, .betas = betas(41), .generator = seeded(11)};
  const LogZEstimate up = ais(narrow(), normal_base(), sampler, options);
  EXPECT_LT(std::abs(up.log_z.item<double>() - kNarrowLogZ), (up.upper - up.lower).item<double>());
  EXPECT_LT((up.upper - up.lower).item<double>(), 0.2);
  EXPECT_EQ(up.stage_ess.sizes(), at::IntArrayRef({40}));
  EXPECT_TRUE(up.warning.empty());
  const at::Tensor exact = at::randn({500, 2}, seeded(12), at::kDouble) / std::sqrt(8.0);
  const LogZEstimate down = reverse_ais(narrow(), normal_base(), exact, sampler, options);
  EXPECT_LT(std::abs(down.log_z.item<double>() - kNarrowLogZ),
            (down.upper - down.lower).item<double>());
  EXPECT_GT(down.betas[0].item<double>(), down.betas[-1].item<double>());
}

TEST(AIS, APathOfItsOwnMayBeginUnnormalised) {
  class OwnPath : public EnergyFunction {
   public:
    at::Tensor value(const at::Tensor& x) const override { return 4 * x.square().sum(1); }
    std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
      return x.square().sum(1) / 2 + 3;
    }
  };
  const Energy energy(std::make_shared<OwnPath>());
  const Sampler sampler = bind_sampler(&mala, {.n_steps = 2}, {.step_size = 0.05});
  const auto error = [](const LogZEstimate& estimate) {
    EXPECT_LT((estimate.upper - estimate.lower).item<double>(), 0.2);
    return std::abs(estimate.log_z.item<double>() - kNarrowLogZ);
  };
  const auto up = [&] {
    return ais(energy, normal_base(), sampler,
               {.n_chains = 500, .betas = betas(41), .generator = seeded(16)});
  };
  EXPECT_LT(error(up()), 0.2);
  EXPECT_TRUE(at::equal(up().log_weights, up().log_weights));
  const at::Tensor exact = at::randn({500, 2}, seeded(17), at::kDouble) / std::sqrt(8.0);
  EXPECT_LT(error(reverse_ais(energy, normal_base(), exact, sampler,
                              {.betas = betas(41), .generator = seeded(18)})),
            0.2);
}

TEST(AIS, GroupsThatResampleAreTheUnitsOfTheEstimate) {
  const Sampler sampler = bind_sampler(&mala, {.n_steps = 2}, {.step_size = 0.05});
  const LogZEstimate estimate = ais(narrow(), normal_base(), sampler,
                                    {.n_chains = 600,
                                     .betas = betas(11),
                                     .n_groups = 30,
                                     .resample_below = 0.5,
                                     .generator = seeded(13)});
  EXPECT_EQ(estimate.log_weights.sizes(), at::IntArrayRef({30}));
  EXPECT_LT(std::abs(estimate.log_z.item<double>() - kNarrowLogZ),
            (estimate.upper - estimate.lower).item<double>());
}

TEST(AIS, ChainsOfABaseThatMissesAModeWarn) {
  // Two modes, of all zeros and, e^2 times as likely, of all ones; the base knows the first alone.
  const at::Tensor weight = at::full({12, 1}, 8.0, at::kDouble);
  const RBM rbm(
      RBMImpl(weight, at::full({12}, -4.0, at::kDouble), at::full({1}, -46.0, at::kDouble)));
  const AISOptions options{.betas = betas(201), .generator = seeded(31)};
  const LogZEstimate missed = ais(rbm, options, rbm->visible_bias);
  EXPECT_LT(missed.upper.item<double>(), rbm->log_z().item<double>() - 1);
  EXPECT_NE(missed.warning.find("10 chains from the uniform base find"), std::string::npos);
  const LogZEstimate uniform = ais(rbm, options);
  EXPECT_TRUE(close(uniform.log_z, rbm->log_z(), /*rtol=*/0, 4 * uniform.std_error.item<double>()));
  EXPECT_TRUE(uniform.warning.empty()) << uniform.warning;
}

TEST(AIS, AnRBMDown) {
  const RBM rbm = make_rbm(5, 4);
  const at::Tensor v = all_states(5);
  const at::Tensor law = at::softmax(-rbm->forward(v).detach(), 0);
  const at::Tensor x = testing::draw_states(v, law, 20000, seeded(14));
  const LogZEstimate down = reverse_ais(rbm, x, {.betas = betas(4), .generator = seeded(15)});
  EXPECT_LT(std::abs((down.log_z - rbm->log_z()).item<double>()),
            (down.upper - down.lower).item<double>());
}

/// From N(0, 2^2), up to a constant, with 0.1 more where the first coordinate is positive, if it is wrong.
class ShiftedPath : public EnergyFunction {
 public:
  ShiftedPath(double offset, bool wrong) : offset_(offset), wrong_(wrong) {}
  at::Tensor value(const at::Tensor& x) const override { return x.square().sum(1); }
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    const at::Tensor energy = x.square().sum(1) / 8 + offset_;
    return wrong_ ? energy + 0.1 * x.select(1, 0).gt(0) : energy;
  }

 private:
  double offset_;
  bool wrong_;
};

/// N(0, 2^2) in 30 dimensions.
NoiseDistribution wide_base(at::ScalarType dtype) {
  return {
      .sample =
          [=](int64_t n, const std::optional<at::Generator>& generator) {
            return (2 * at::randn({n, 30}, generator, at::TensorOptions(at::kDouble))).to(dtype);
          },
      .log_prob =
          [](const at::Tensor& x) { return -x.square().sum(1) / 8 - 15 * std::log(8 * M_PI); }};
}

TEST(AIS, ABaseIsComparedInThePrecisionOfItsStates) {
  const Sampler stay(
      [](const Energy&, const at::Tensor& x, const RunOptions&) -> Samples { return {.x = x}; });
  const auto run = [&](at::ScalarType dtype, double offset, bool wrong) {
    const Energy energy(std::make_shared<ShiftedPath>(offset, wrong));
    return ais(energy, wide_base(dtype), stay, {.n_chains = 10, .betas = betas(2)});
  };
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble}) {
    run(dtype, 10, false);  // a right base is not refused for its rounding
  }
  run(at::kFloat, 1e6, true);  // too little to be told
  EXPECT_THROWS(run(at::kDouble, 1e6, true), c10::ValueError, "base must be the distribution");
  EXPECT_THROWS(run(at::kFloat, 1e3, true), c10::ValueError, "base must be the distribution");
}

TEST(AIS, ABaseThatIsNotTheLawAtZeroIsRefused) {
  class OwnPath : public EnergyFunction {
   public:
    at::Tensor value(const at::Tensor& x) const override { return x.square().sum(1); }
    std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
      return x.square().sum(1);  // that of another variance
    }
  };
  const Sampler sampler = bind_sampler(&mala, {}, {.step_size = 0.05});
  EXPECT_THROWS(ais(Energy(std::make_shared<OwnPath>()), normal_base(), sampler), c10::ValueError,
                "base must be the distribution that the energy itself defines at beta = 0");
  EXPECT_THROWS(ais(narrow(), normal_base(), sampler, {.n_chains = 1}), c10::ValueError,
                "n_chains must be at least 2");
  EXPECT_THROWS(ais(narrow(), normal_base(), sampler, {.resample_below = 0.5}), c10::ValueError,
                "n_groups, where chains resample, must be at least 2");
}

}  // namespace
}  // namespace torch_ebm::ais_test
