#include "torch_ebm/criteria/energy_discrepancy.h"

#include <torch/csrc/autograd/autograd.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"

namespace torch_ebm::energy_discrepancy_test {
namespace {

using testing::all_states;
using testing::close;
using testing::mean_is;
using testing::seeded;

TEST(EnergyDiscrepancy, IsItsFormulaInTheContrasts) {
  const at::Tensor x = at::randn({5, 3}, seeded(1), at::kDouble);
  const at::Tensor a = at::tensor({0.5, -1.0, 0.25}, at::kDouble).requires_grad_();
  std::vector<at::Tensor> seen;
  const Energy energy([&seen, a](const at::Tensor& y) {
    seen.push_back(y);
    return at::mv(y.square(), a);
  });
  const at::Tensor value = energy_discrepancy(energy, x, {.generator = seeded(2)},
                                              {.t = 0.6, .n_samples = 4, .stabilisation = 0.5});
  ASSERT_EQ(seen.size(), 2);
  const at::Tensor contrasts = seen[1].view({4, 5, 3});
  const at::Tensor d = at::mv(x.square(), a) - at::matmul(contrasts.square(), a);
  const at::Tensor expected = at::log(0.125 + at::exp(d).mean(0)).mean();
  EXPECT_TRUE(close(value, expected, 1e-12));
  const at::Tensor gradient = torch::autograd::grad({expected}, {a})[0];
  value.backward();
  EXPECT_TRUE(close(a.grad(), gradient, 1e-12));
}

TEST(EnergyDiscrepancy, FlipsBitsTwice) {
  at::Tensor contrasts;
  const Energy energy([&contrasts](const at::Tensor& y) {
    contrasts = y;
    return y.sum(1);
  });
  const at::Tensor x = all_states(2).repeat({5000, 1});
  energy_discrepancy(energy, x, {.generator = seeded(2)},
                     {.flip_probability = 0.1, .n_samples = 1});
  const at::Tensor flipped = (contrasts - x).abs();
  EXPECT_TRUE(mean_is(flipped.select(1, 0), 0.18));
  EXPECT_TRUE(mean_is(flipped.select(1, 1), 0.18));
}

TEST(EnergyDiscrepancy, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& y) { return y.sum(1); });
  const at::Tensor x = at::randn({4, 2}, seeded(1));
  EXPECT_THROWS(energy_discrepancy(energy, x, {}, {}), c10::ValueError,
                "either t or flip_probability must be given");
  EXPECT_THROWS(energy_discrepancy(energy, x, {}, {.t = 0.0}), c10::ValueError, "t must be > 0");
  EXPECT_THROWS(energy_discrepancy(energy, x, {}, {.flip_probability = 0.1}), c10::ValueError,
                "x must hold zeros");
  EXPECT_THROWS(energy_discrepancy(energy, x, {}, {.t = 1.0, .n_samples = 0}), c10::ValueError,
                "n_samples must be at least 1");
}

}  // namespace
}  // namespace torch_ebm::energy_discrepancy_test
