#include "torch_ebm/samplers/sampler.h"

#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/anneal.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::sampler_test {
namespace {

using testing::seeded;

Energy quadratic() {
  return Energy([](const at::Tensor& x) { return x.square().sum(1) / 2; });
}

AnnealedChains annealed(const Sampler& sampler) {
  const at::TensorOptions options(at::kDouble);
  return anneal(quadratic(), at::randn({5, 3}, seeded(1), options),
                at::linspace(0.2, 1, 4, options), sampler, {.generator = seeded(2)});
}

TEST(Sampler, OfAnOperatorIsTheFunction) {
  const Sampler function = bind_sampler(&mala, {.n_steps = 2}, {.step_size = 0.3});
  const c10::IValue description =
      c10::ivalue::Tuple::create({"mala", c10::ivalue::Tuple::create({"step_size", "n_steps"}),
                                  c10::ivalue::Tuple::create({0.3, 2})});
  const Sampler from_operator = Sampler::from_ivalue("test", description);
  EXPECT_TRUE(function.knows_energies());
  EXPECT_TRUE(from_operator.knows_energies());
  const AnnealedChains ours = annealed(function), theirs = annealed(from_operator);
  EXPECT_TRUE(at::equal(ours.x, theirs.x));
  EXPECT_TRUE(at::equal(ours.log_weights, theirs.log_weights));
}

TEST(Sampler, OfAFunctionIsNotBelievedAboutEnergies) {
  const Sampler right = bind_sampler(&mala, {}, {.step_size = 0.3});
  const Sampler lying = [&](const Energy& energy, const at::Tensor& x, const RunOptions& run) {
    Samples samples = right(energy, x, run);
    samples.energy = samples.energy.value() + 100;
    return samples;
  };
  EXPECT_FALSE(lying.knows_energies());
  EXPECT_TRUE(at::allclose(annealed(right).log_weights, annealed(lying).log_weights));
}

TEST(Sampler, MayReportInfiniteEnergies) {
  /// States above 0 are forbidden at every beta.
  class Wall : public EnergyFunction {
   public:
    at::Tensor value(const at::Tensor& x) const override {
      return at::where(x.select(1, 0) > 0, INFINITY, 1.0).to(at::kDouble);
    }
    std::optional<at::Tensor> base_energy(const at::Tensor& x) const override { return value(x); }
  };
  const Energy wall{std::make_shared<Wall>()};
  const Sampler stay = Sampler::of_this_library(
      [](const Energy& energy, const at::Tensor& x, const RunOptions&) -> Samples {
        return {.x = x, .energy = energy.value(x)};
      });
  const at::TensorOptions options(at::kDouble);
  const at::Tensor x = at::tensor({-1.0, 1.0}, options).unsqueeze(1);
  const at::Tensor weights = anneal(wall, x, at::linspace(0, 1, 4, options), stay).log_weights;
  EXPECT_TRUE(at::equal(weights, at::tensor({0.0, -INFINITY}, options)));
  const at::Tensor ess =
      anneal(wall, x.narrow(0, 1, 1), at::linspace(0, 1, 3, options), stay).stage_ess;
  EXPECT_TRUE(at::equal(ess, at::zeros({2}, options)));
}

TEST(Sampler, OfNothingIsEmpty) {
  EXPECT_FALSE(Sampler());
  EXPECT_FALSE(Sampler(Sampler::Function()));
}

}  // namespace
}  // namespace torch_ebm::sampler_test
