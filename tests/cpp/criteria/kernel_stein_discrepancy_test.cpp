#include "torch_ebm/criteria/kernel_stein_discrepancy.h"

#include "tests/cpp/testing.h"

namespace torch_ebm::kernel_stein_discrepancy_test {
namespace {

using testing::close;
using testing::seeded;

/// u(x_n, x_m) of E = precision |x|^2 / 2 and the kernel (1 + |x - y|^2 / h^2)^(-1/2), a pair at a time.
at::Tensor stein_kernel(const at::Tensor& x, double precision, double h) {
  const int64_t n = x.size(0);
  const auto d = static_cast<double>(x.size(1));
  at::Tensor u = at::empty({n, n}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const at::Tensor si = -precision * x[i], sj = -precision * x[j], away = x[i] - x[j];
      const at::Tensor base = 1 + away.dot(away) / (h * h);
      const at::Tensor of_j = base.pow(-1.5) * away / (h * h);  // dk/dx_j = -dk/dx_i
      const at::Tensor trace =
          d / (h * h) * base.pow(-1.5) - 3 / std::pow(h, 4) * away.dot(away) * base.pow(-2.5);
      u[i][j] = base.pow(-0.5) * si.dot(sj) + (si - sj).dot(of_j) + trace;
    }
  }
  return u;
}

TEST(KernelSteinDiscrepancy, IsTheMeanOverPairs) {
  const at::Tensor x = at::randn({7, 3}, seeded(1), at::kDouble);
  const at::Tensor precision = at::full({}, 1.4, at::kDouble).requires_grad_();
  const Energy energy(
      [precision](const at::Tensor& y) { return precision / 2 * y.square().sum(1); });
  const at::Tensor u = stein_kernel(x, 1.4, 0.9);
  const at::Tensor rows = kernel_stein_discrepancy(energy, x, {.reduction = "none"},
                                                   {.statistic = "v", .bandwidth = 0.9});
  EXPECT_TRUE(close(rows.detach(), u.mean(1), 1e-11, 1e-12));
  const at::Tensor value = kernel_stein_discrepancy(energy, x, {}, {.bandwidth = 0.9});
  EXPECT_TRUE(close(value.detach(), (u.sum() - u.trace()) / 42, 1e-11));
  value.backward();
  constexpr double kStep = 1e-5;
  const at::Tensor up = stein_kernel(x, 1.4 + kStep, 0.9), down = stein_kernel(x, 1.4 - kStep, 0.9);
  const at::Tensor slope = (up - down) / (2 * kStep);
  EXPECT_TRUE(close(precision.grad(), (slope.sum() - slope.trace()) / 42, 1e-8));
}

TEST(KernelSteinDiscrepancy, TheBandwidthIsTheMedianDistance) {
  const at::Tensor x = at::tensor({0.0, 1.0, 3.0}, at::kDouble).unsqueeze(1);  // distances 1, 2, 3
  const Energy energy([](const at::Tensor& y) { return y.square().sum(1) / 2; });
  EXPECT_TRUE(close(kernel_stein_discrepancy(energy, x),
                    kernel_stein_discrepancy(energy, x, {}, {.bandwidth = 2.0}), 1e-12));
}

TEST(KernelSteinDiscrepancy, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& y) { return y.square().sum(1); });
  const at::Tensor x = at::randn({4, 2}, seeded(1));
  EXPECT_THROWS(kernel_stein_discrepancy(energy, x, {}, {.statistic = "w"}), c10::ValueError,
                "statistic must be");
  EXPECT_THROWS(kernel_stein_discrepancy(energy, x, {}, {.kernel = "rbf", .exponent = -0.5}),
                c10::ValueError, "exponent must not be given");
  EXPECT_THROWS(kernel_stein_discrepancy(energy, x, {}, {.bandwidth = -1.0}), c10::ValueError,
                "bandwidth must be > 0");
  EXPECT_THROWS(kernel_stein_discrepancy(energy, x.slice(0, 0, 1)), c10::ValueError,
                "at least 2 examples");
}

}  // namespace
}  // namespace torch_ebm::kernel_stein_discrepancy_test
