#include "torch_ebm/partition/annealing/linked_ais.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/mala.h"

namespace torch_ebm::linked_ais_test {
namespace {

using testing::mean_is;
using testing::seeded;

/// From N(0, 1) to N(0, 1/2), one unit: E_beta = (1 + beta) x^2 / 2.
class Narrowing : public EnergyFunction {
 public:
  at::Tensor value(const at::Tensor& x) const override { return x.square().sum(1); }
  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    return x.square().sum(1) / 2;
  }
};

Energy narrowing() { return Energy(std::make_shared<Narrowing>()); }
at::Tensor start(int64_t n_states, int64_t n, double sd = 1) {
  return sd * at::randn({n_states, n, 1}, seeded(1), at::TensorOptions(at::kDouble));
}
at::Tensor path() { return at::linspace(0, 1, 4, at::TensorOptions(at::kDouble)); }
Sampler slow() { return bind_sampler(&mala, {}, {.step_size = 0.02}); }

TEST(LinkedAIS, WeightsAreUnbiasedUpAndDown) {
  const double ratio = std::sqrt(0.5);  // Z goes with the standard deviation
  for (const bool optimal : {false, true}) {
    LinkedAISOptions options{.generator = seeded(2)};
    if (optimal) options.log_ratios = at::full({3}, 0.1, at::kDouble);
    const LinkedWeights up = linked_ais(narrowing(), start(3, 50000), path(), slow(), options);
    EXPECT_TRUE(mean_is(at::exp(up.log_weights), ratio));
    EXPECT_EQ(up.log_ratios.sizes(), at::IntArrayRef({3}));
    const LinkedWeights down =
        linked_ais(narrowing(), start(3, 50000, ratio), path().flip(0), slow(), options);
    EXPECT_TRUE(mean_is(at::exp(down.log_weights), 1 / ratio));
  }
}

TEST(LinkedAIS, OneStateIsSimpleImportanceSampling) {
  const at::Tensor x = start(1, 5);
  const LinkedWeights weights = linked_ais(narrowing(), x, path(), slow());
  EXPECT_TRUE(testing::close(weights.log_weights, -x[0].square().sum(1) / 2));
}

TEST(LinkedAIS, WrongArgumentsAreNamed) {
  const auto run = [](const at::Tensor& x, const LinkedAISOptions& options = {}) {
    return linked_ais(narrowing(), x, path(), slow(), options);
  };
  EXPECT_THROWS(run(at::zeros({3})), c10::ValueError, "x must hold states of runs");
  EXPECT_THROWS(run(start(2, 3), {.log_ratios = at::zeros({2})}), c10::ValueError,
                "log_ratios must have shape");
  EXPECT_THROWS(linked_ais(narrowing(), start(2, 3), path(), {}), c10::ValueError,
                "sampler must not be");
}

}  // namespace
}  // namespace torch_ebm::linked_ais_test
