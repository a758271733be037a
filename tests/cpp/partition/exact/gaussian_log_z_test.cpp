#include "torch_ebm/partition/exact/gaussian_log_z.h"

#include <cmath>
#include <numbers>

#include "tests/cpp/testing.h"

namespace torch_ebm::gaussian_log_z_test {
namespace {

using testing::close;

TEST(GaussianLogZ, OfADiagonalIsASumOfDimensions) {
  const at::Tensor precision = at::tensor({0.5, 2.0, 7.0}, at::kDouble);
  const at::Tensor linear = at::tensor({1.0, -3.0, 0.0}, at::kDouble);
  const at::Tensor expected =
      (0.5 * (2 * std::numbers::pi / precision).log() + 0.5 * linear.square() / precision).sum();
  EXPECT_TRUE(close(gaussian_log_z(at::diag(precision), linear), expected, 1e-13));
}

TEST(GaussianLogZ, GradientsAreMoments) {
  const at::Tensor precision =
      at::tensor({2.0, 0.5, 0.5, 1.0}, at::kDouble).view({2, 2}).requires_grad_();
  const at::Tensor linear = at::tensor({1.0, -3.0}, at::kDouble).requires_grad_();
  gaussian_log_z(precision, linear).backward();
  const at::Tensor covariance = at::linalg_inv(precision.detach());
  const at::Tensor mean = at::matmul(covariance, linear.detach());
  EXPECT_TRUE(close(linear.grad(), mean, 1e-12));
  EXPECT_TRUE(close(precision.grad(), -0.5 * (covariance + at::outer(mean, mean)), 1e-12));
}

TEST(GaussianLogZ, WrongArgumentsAreNamed) {
  EXPECT_THROWS(gaussian_log_z(-at::eye(2)), c10::ValueError,
                "gaussian_log_z: the symmetric part of precision must be positive definite");
  EXPECT_THROWS(gaussian_log_z(at::ones({2, 3})), c10::ValueError, "got (2, 3)");
  EXPECT_THROWS(gaussian_log_z(at::eye(2), at::ones({3})), c10::ValueError,
                "linear must have shape (d,) = (2,), got (3,)");
  EXPECT_THROWS(gaussian_log_z(at::eye(2, at::kLong)), c10::TypeError, "floating dtype");
}

}  // namespace
}  // namespace torch_ebm::gaussian_log_z_test
