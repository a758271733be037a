#include "torch_ebm/partition/exact/lattice_log_z.h"

#include <cmath>

#include "tests/cpp/testing.h"
#include "torch_ebm/partition/exact/exact_log_z.h"

namespace torch_ebm::lattice_log_z_test {
namespace {

using testing::close;
using testing::seeded;

at::Tensor number(double value) { return at::scalar_tensor(value, at::kDouble); }

TEST(LatticeLogZ, AgreesWithTheEnumeration) {
  // 3 x 2 sites of 3 states, with free ends along the length and a bond across them in the width.
  const at::Tensor site = at::randn({3, 2, 3}, seeded(1), at::kDouble);
  const at::Tensor along = at::randn({2, 2, 3, 3}, seeded(2), at::kDouble);
  const at::Tensor across = at::randn({3, 2, 3, 3}, seeded(3), at::kDouble);
  const Energy energy([&](const at::Tensor& x) {
    const at::Tensor s = x.view({-1, 3, 2, 3});
    const auto pairs = [](const at::Tensor& a, const at::Tensor& table, const at::Tensor& b) {
      return (a.unsqueeze(4) * table * b.unsqueeze(3)).flatten(1).sum(1);
    };
    return (s * site).flatten(1).sum(1) + pairs(s.slice(1, 0, 2), along, s.slice(1, 1, 3)) +
           pairs(s, across, s.roll({-1}, {2}));
  });
  EXPECT_TRUE(close(lattice_log_z(site, along, across),
                    exact_log_z(energy, 6, at::kDouble, /*n_categories=*/3), 1e-12));
}

TEST(LatticeLogZ, OfIsingRingsHasAClosedForm) {
  const double coupling = 0.6;
  for (int64_t n : {1, 2, 7, 300}) {
    const double expected = static_cast<double>(n) * std::log(2 * std::cosh(coupling)) +
                            std::log1p(std::pow(std::tanh(coupling), static_cast<double>(n)));
    for (const auto& [size, periodic] :
         {std::pair<std::array<int64_t, 2>, std::array<bool, 2>>{{n, 1}, {true, false}},
          {{1, n}, {false, true}}}) {
      const at::Tensor log_z = ising_log_z(number(coupling), std::nullopt, size, periodic);
      EXPECT_NEAR(log_z.item<double>(), expected, 1e-11);
    }
  }
}

TEST(LatticeLogZ, GradientsAreMeans) {
  const at::Tensor field = number(0.3).requires_grad_();
  const at::Tensor coupling = number(0.0).requires_grad_();
  ising_log_z(coupling, field, {4, 3}).backward();
  EXPECT_NEAR(field.grad().item<double>(), 12 * std::tanh(0.3), 1e-12);
  EXPECT_NEAR(coupling.grad().item<double>(), 24 * std::pow(std::tanh(0.3), 2), 1e-12);
}

TEST(LatticeLogZ, WhatIsForbiddenCountsNothing) {
  const at::Tensor site = at::zeros({4, 4, 2}, at::kDouble).requires_grad_();
  const at::Tensor both = at::zeros({2, 2}, at::kDouble);
  both[1][1] = INFINITY;
  const at::Tensor log_z =
      lattice_log_z(site, both.expand({3, 4, 2, 2}), both.expand({4, 3, 2, 2}));
  EXPECT_NEAR(log_z.item<double>(), std::log(1234.0), 1e-12);
  log_z.backward();
  EXPECT_TRUE(at::isfinite(site.grad()).all().item<bool>());

  const at::Tensor none = at::full({2, 2, 2}, INFINITY, at::kDouble);
  EXPECT_EQ(lattice_log_z(none, at::zeros({1, 2, 2, 2}, at::kDouble),
                          at::zeros({2, 1, 2, 2}, at::kDouble))
                .item<double>(),
            -INFINITY);
}

TEST(LatticeLogZ, WrongArgumentsAreNamed) {
  const at::Tensor site = at::zeros({3, 2, 2});
  const at::Tensor along = at::zeros({2, 2, 2, 2}), across = at::zeros({3, 1, 2, 2});
  EXPECT_THROWS(lattice_log_z(site, across, across), c10::ValueError,
                "lattice_log_z: along must have shape (2, 2, 2, 2), or where it is periodic "
                "(3, 2, 2, 2), got (3, 1, 2, 2)");
  EXPECT_THROWS(lattice_log_z(site, along, along), c10::ValueError, "across must have shape");
  EXPECT_THROWS(lattice_log_z(site[0], along, across), c10::ValueError, "site_energy must have");
  EXPECT_THROWS(lattice_log_z(site, along.to(at::kDouble), across), c10::TypeError, "along must");
  EXPECT_THROWS(ising_log_z(number(1), std::nullopt, {13, 13}), c10::ValueError, "got 2^26");
  EXPECT_THROWS(ising_log_z(site, std::nullopt, {3, 3}), c10::ValueError,
                "ising_log_z: coupling must have shape () = (), got (3, 2, 2)");
}

}  // namespace
}  // namespace torch_ebm::lattice_log_z_test
