// The flips that Gibbs with gradients proposes, in every instruction set, against sums in float64.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

template <typename T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

/// Chains with random units and scores, of which some are so low that their weights vanish.
template <typename T>
struct Flips {
  explicit Flips(int64_t units, double scale = 4)
      : n(units), x(kChains * n), score(kChains * n), uniform(kChains) {
    std::mt19937_64 random(5);
    std::normal_distribution<double> normal(0, scale);
    for (int64_t i = 0; i < kChains * n; ++i) {
      x[i] = static_cast<T>(random() % 2);
      score[i] = static_cast<T>(normal(random));
      if (n > 1 && i % n != 1 && i % 5 == 0) score[i] = (2 * x[i] - 1) * T(1e30);  // d = -1e30
    }
    for (double& u : uniform) u = (static_cast<double>(random() >> 32) + 0.5) * 0x1p-32;
    uniform[0] = 0x1p-33;
    uniform[1] = 1 - 0x1p-33;
    uniform[5] = 1e-300;  // its first unit has weight 0
  }

  void propose(const Probe& probe) {
    const Table<T>& table = table_of<T>(probe);
    const int64_t stride = 1 + (n + kTileSites - 1) / kTileSites;
    std::vector<double> sums(kChains * stride);
    const FlipWeights weights{sums.data(), stride};
    site.assign(kChains, -1);
    forward.assign(kChains, 0);
    again.assign(kChains, 0);
    for (Rows rows : {Rows{0, 7, n}, Rows{7, kChains, n}}) {
      table.weigh_flips(x.data(), score.data(), weights, rows);
      table.propose_flip(x.data(), score.data(), weights, uniform.data(), site.data(),
                         forward.data(), rows);
      table.flip_log_probability(x.data(), score.data(), weights, site.data(), again.data(), rows);
    }
  }

  /// d / 2 of a unit.
  double half_change(int64_t row, int64_t i) const {
    return (0.5 - x[row * n + i]) * score[row * n + i];
  }
  double max(int64_t row) const {
    double result = -kInfinity<double>;
    for (int64_t i = 0; i < n; ++i) result = std::max(result, half_change(row, i));
    return result;
  }
  /// The weights of the first `count` units of a chain, relative to its largest.
  double sum(int64_t row, int64_t count) const {
    double result = 0;
    for (int64_t i = 0; i < count; ++i) result += std::exp(half_change(row, i) - max(row));
    return result;
  }

  static constexpr int64_t kChains = 40;
  int64_t n;
  std::vector<T> x;
  std::vector<T> score;
  std::vector<double> uniform;
  std::vector<int64_t> site;
  std::vector<double> forward;  // log q of the flips proposed
  std::vector<double> again;    // the same of flip_log_probability
};

template <typename T>
class FlipKernels : public ::testing::Test {};
using FloatingTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(FlipKernels, FloatingTypes, );

constexpr int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130};

TYPED_TEST(FlipKernels, UnitsAreDrawnByInversionAndTheirProbabilitiesAreRight) {
  using T = TypeParam;
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;
  for (double scale : {4., 1000.}) {
    for (int64_t n : kSizes) {
      Flips<T> flips(n, scale);
      for (const Probe* probe : instruction_sets()) {
        SCOPED_TRACE(probe->name);
        flips.propose(*probe);
        EXPECT_EQ(flips.again, flips.forward);
        for (int64_t row = 0; row < flips.kChains; ++row) {
          const int64_t site = flips.site[row];
          ASSERT_TRUE(site >= 0 && site < n) << n;
          const double total = flips.sum(row, n);
          const double target = flips.uniform[row] * total;
          EXPECT_LE(flips.sum(row, site), target + tolerance * total) << n;
          EXPECT_GE(flips.sum(row, site + 1), target - tolerance * total) << n;
          EXPECT_GT(flips.half_change(row, site), -1e29) << n;  // never one without a weight
          const double log_q = flips.half_change(row, site) - flips.max(row) - std::log(total);
          EXPECT_NEAR(flips.forward[row], log_q, tolerance) << n;
        }
      }
    }
  }
}

TYPED_TEST(FlipKernels, ProbabilitiesTooSmallForAWeightAreStillRight) {
  using T = TypeParam;
  Flips<T> flips(2);
  flips.x = {0, 1};
  flips.score = {T(600), T(600)};  // d = 600, -600
  const int64_t site = 1;
  double log_q = 0;
  for (const Probe* probe : instruction_sets()) {
    double sums[2];
    const FlipWeights weights{sums, 2};
    const Rows rows{0, 1, 2};
    const Table<T>& table = table_of<T>(*probe);
    table.weigh_flips(flips.x.data(), flips.score.data(), weights, rows);
    table.flip_log_probability(flips.x.data(), flips.score.data(), weights, &site, &log_q, rows);
    EXPECT_DOUBLE_EQ(log_q, -600);
  }
}

TYPED_TEST(FlipKernels, ChangesWithoutADistributionAreFlaggedAtEveryPosition) {
  using T = TypeParam;
  for (T bad : {std::numeric_limits<T>::quiet_NaN(), kInfinity<T>, -kInfinity<T>}) {
    for (int64_t n : {1, 2, 16, 17, 33}) {
      for (int64_t i = 0; i < n; ++i) {
        Flips<T> flips(n);
        flips.x[2 * n + i] = 0;
        flips.score[2 * n + i] = bad;
        for (const Probe* probe : instruction_sets()) {
          flips.propose(*probe);
          EXPECT_TRUE(std::isnan(flips.forward[2]) && std::isnan(flips.again[2])) << n << " " << i;
          EXPECT_TRUE(flips.site[2] >= 0 && flips.site[2] < n);
          EXPECT_TRUE(n == 1 || !std::isnan(flips.forward[3]));
        }
      }
    }
  }
}

TYPED_TEST(FlipKernels, NoFlipAtAllIsFlagged) {
  using T = TypeParam;
  Flips<T> flips(9);
  flips.x.assign(flips.x.size(), 0);
  flips.score.assign(flips.score.size(), -kInfinity<T>);
  for (const Probe* probe : instruction_sets()) {
    flips.propose(*probe);
    for (double log_q : flips.forward) EXPECT_TRUE(std::isnan(log_q));
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
