#include "torch_ebm/partition/exact/exact_log_z.h"

#include <torch/nn/module.h>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::exact_log_z_test {
namespace {

using testing::close;
using testing::seeded;

TEST(ExactLogZ, OfIndependentUnitsIsASumOfSoftplus) {
  // 15 units are two batches of states; 1 is the least.
  for (int64_t n : {1, 3, 15}) {
    const at::Tensor bias = at::randn({n}, seeded(1), at::kDouble);
    const Energy energy([&](const at::Tensor& x) { return -at::matmul(x, bias.to(x.dtype())); });
    const at::Tensor expected = at::log1p(at::exp(bias)).sum();
    EXPECT_TRUE(close(exact_log_z(energy, n, at::kDouble), expected, 1e-12));
    EXPECT_TRUE(close(exact_log_z(energy, n), expected, 1e-5));
  }
}

TEST(ExactLogZ, OfIndependentSitesIsASumOfLogarithms) {
  for (int64_t n : {1, 9}) {  // 9 sites are two batches of states
    const at::Tensor bias = at::randn({n, 3}, seeded(4), at::kDouble);
    const Energy energy([&](const at::Tensor& x) {
      EXPECT_EQ(x.sizes().slice(1), bias.sizes());
      return -(x * bias).sum(at::IntArrayRef{1, 2});
    });
    EXPECT_TRUE(close(exact_log_z(energy, n, at::kDouble, /*n_categories=*/3),
                      at::logsumexp(bias, {1}).sum(), 1e-12));
  }
}

TEST(ExactLogZ, AgreesWithTheRBM) {
  RBM rbm(7, 5);
  rbm->to(at::kDouble);
  rbm->weight.detach().normal_(0, 1, seeded(2));
  const at::Tensor log_z = exact_log_z(Energy(rbm), 7, at::kDouble);
  EXPECT_FALSE(log_z.requires_grad());
  EXPECT_TRUE(close(log_z, rbm->log_z().detach(), 1e-12));
}

TEST(ExactLogZ, OfAnRBMSumsOverTheSmallerLayer) {
  for (const auto& [n_visible, n_hidden] : {std::pair{60, 3}, std::pair{3, 60}}) {
    RBM rbm(n_visible, n_hidden);
    rbm->weight.detach().zero_();
    EXPECT_NEAR(rbm->log_z().item<double>(), 63 * std::log(2.0), 1e-9);
    EXPECT_EQ(rbm->log_z().scalar_type(), at::kDouble);
  }
  RBM large(26, 26);
  EXPECT_THROWS(large->log_z(), c10::ValueError, "must be between 1 and 25, got 26; use AIS");
}

TEST(ExactLogZ, ForbiddenStatesCountNothing) {
  const Energy energy([](const at::Tensor& x) {
    return at::where(x.sum(1) > 1, at::full({}, INFINITY), at::zeros({}));
  });
  EXPECT_NEAR(exact_log_z(energy, 4).item<double>(), std::log(5.0), 1e-6);
}

TEST(ExactLogZ, WrongArgumentsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.sum(1); });
  EXPECT_THROWS(exact_log_z(energy, 0), c10::ValueError, "n_units must be between 1 and 25, got 0");
  EXPECT_THROWS(exact_log_z(energy, 26), c10::ValueError, "got 26; use AIS for more");
  EXPECT_THROWS(exact_log_z(energy, 13, {}, 4), c10::ValueError, "at most 2^25, got 4^13");
  EXPECT_THROWS(exact_log_z(energy, 13, {}, 1), c10::ValueError, "n_categories must be between 2");
  for (double bad : {static_cast<double>(NAN), -static_cast<double>(INFINITY)}) {
    EXPECT_THROWS(exact_log_z(Energy([bad](const at::Tensor& x) { return x.sum(1) + bad; }), 3),
                  c10::ValueError, "the energy of some state is NaN or -inf");
  }
}

}  // namespace
}  // namespace torch_ebm::exact_log_z_test
