// The samplers of the Boltzmann machine, in every instruction set; their laws are tested in Python.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

template <typename T>
struct Machine {
  explicit Machine(int64_t units)
      : n(units),
        stride((units + kPaddedTo - 1) / kPaddedTo * kPaddedTo),
        coupling(units * stride),
        bias(stride) {
    std::mt19937_64 random(4);
    std::normal_distribution<double> normal(0, 1 / std::sqrt(static_cast<double>(units)));
    for (int64_t i = 0; i < n; ++i) {
      bias[i] = static_cast<T>(normal(random));
      for (int64_t j = 0; j < i; ++j) {
        coupling[i * stride + j] = coupling[j * stride + i] = static_cast<T>(normal(random));
      }
    }
  }

  /// kChains chains from alternating units.
  std::vector<T> sweeps(const Probe& probe) {
    std::vector<T> x = start();
    std::vector<T> scratch(stride);
    valid = table_of<T>(probe).boltzmann_gibbs(x.data(), nullptr, view(), scratch.data(),
                                               {0, kChains, n}, {3, 9}, {8, 0, 4});
    return x;
  }

  std::vector<T> with_gradients(const Probe& probe) {
    std::vector<T> x = start();
    std::vector<T> scratch(kFlipScratch * stride);
    acceptance.assign(kChains, 0);
    valid = table_of<T>(probe).gibbs_with_gradients(
        x.data(), acceptance.data(), view(), scratch.data(), {0, kChains, n}, {3, 103}, {8, 0, 4});
    return x;
  }

  std::vector<T> start() const {
    std::vector<T> x(kChains * n);
    for (int64_t i = 0; i < kChains * n; ++i) x[i] = static_cast<T>(i % 2);
    return x;
  }
  Boltzmann<T> view() const { return {{coupling.data(), n, stride}, bias.data(), {&beta, 0}}; }

  static constexpr int64_t kChains = 5;
  int64_t n;
  int64_t stride;
  std::vector<T> coupling;
  std::vector<T> bias;
  std::vector<double> acceptance;
  T beta = T(0.75);
  bool valid = false;
};

template <typename T>
class BoltzmannKernels : public ::testing::Test {};
using FloatingTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(BoltzmannKernels, FloatingTypes, );

constexpr int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 130};

TYPED_TEST(BoltzmannKernels, EveryInstructionSetMakesTheSameChains) {
  for (int64_t n : kSizes) {
    Machine<TypeParam> machine(n);
    const auto sweeps = machine.sweeps(baseline::probe);
    const auto flips = machine.with_gradients(baseline::probe);
    const std::vector<double> acceptance = machine.acceptance;
    for (const Probe* probe : instruction_sets()) {
      SCOPED_TRACE(probe->name);
      EXPECT_EQ(machine.sweeps(*probe), sweeps) << n;
      EXPECT_TRUE(machine.valid);
      EXPECT_EQ(machine.with_gradients(*probe), flips) << n;
      EXPECT_TRUE(machine.valid);
      for (int64_t row = 0; row < Machine<TypeParam>::kChains; ++row) {
        EXPECT_NEAR(machine.acceptance[row], acceptance[row], 1e-3) << n;
        EXPECT_LE(machine.acceptance[row], 100);
      }
    }
  }
}

TYPED_TEST(BoltzmannKernels, FieldsThatAreNotFiniteAreFlagged) {
  using T = TypeParam;
  for (T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    for (int64_t n : kSizes) {
      Machine<T> machine(n);
      machine.bias[n - 1] = bad;
      for (const Probe* probe : instruction_sets()) {
        machine.sweeps(*probe);
        EXPECT_FALSE(machine.valid) << n << probe->name;
        machine.with_gradients(*probe);
        EXPECT_FALSE(machine.valid) << n << probe->name;
      }
    }
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
