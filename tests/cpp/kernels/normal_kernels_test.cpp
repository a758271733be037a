// Normal numbers, and the Langevin step that uses them, in every instruction set.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

constexpr double kMaxZ = 4.56;  // as in statistics.h: a tail of 5e-6
constexpr int64_t kRows = 1000, kSites = 2000, kNumbers = kRows * kSites;

std::vector<double> normals(const Probe& probe, bool in_float) {
  const Rows rows{0, kRows, kSites};
  std::vector<double> x(kNumbers);
  if (!in_float) {
    probe.double_table->fill_normal(x.data(), rows, {5, 0, 3});
    return x;
  }
  std::vector<float> narrow(kNumbers);
  probe.float_table->fill_normal(narrow.data(), rows, {5, 0, 3});
  x.assign(narrow.begin(), narrow.end());
  return x;
}

/// The same for all tests: 2 x 10^6 numbers of the baseline, float.
const std::vector<double>& float_normals() {
  static const std::vector<double> x = normals(baseline::probe, true);
  return x;
}

TEST(Normal, EveryInstructionSetAndDtypeDrawsTheSameNumbers) {
  const std::vector<double> expected = normals(baseline::probe, false);
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    EXPECT_EQ(normals(*probe, false), expected);
    const std::vector<double> x = normals(*probe, true);
    double worst = 0;
    for (int64_t i = 0; i < kNumbers; ++i) {
      worst = std::max(worst, std::abs(x[i] - expected[i]) / std::max(1.0, std::abs(expected[i])));
    }
    EXPECT_LT(worst, 1e-6);
  }
}

TEST(Normal, FollowsBoxAndMullerByTheWordsOfItsBlock) {
  constexpr double kTurn = 2 * 3.14159265358979323846;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : {1, 15, 16, 17, 33, 48, 49, 64, 65, 129}) {
      const Draw draw{9, 2, 3};
      const int64_t whole = (n + kTileSites - 1) / kTileSites * kTileSites;
      std::vector<uint32_t> words(whole);
      probe->words(draw, 0, whole, words.data());
      std::vector<double> x(n);
      probe->double_table->fill_normal(x.data(), {0, 1, n}, draw);
      for (int64_t site = 0; site < n; ++site) {
        const bool second = site / 16 % 2 == 1;
        const int64_t first = second ? site - 16 : site;
        const double radius = std::sqrt(-2 * std::log((words[first] + 0.5) / 4294967296.0));
        const double angle = kTurn * (words[first + 16] + 0.5) / 4294967296.0;
        const double expected = radius * (second ? std::sin(angle) : std::cos(angle));
        ASSERT_NEAR(x[site], expected, 1e-9) << site << " of " << n;
      }
    }
  }
}

TEST(Normal, HasTheMomentsOfTheNormalLaw) {
  double moment[7] = {};
  for (double value : float_normals()) {
    ASSERT_TRUE(std::isfinite(value));
    for (int k = 1; k <= 6; ++k) moment[k] += std::pow(value, k) / kNumbers;
  }
  // E x^k = (k - 1)!! for even k; Var x^k = E x^2k - (E x^k)^2.
  const double expected[7] = {1, 0, 1, 0, 3, 0, 15};
  const double variance[7] = {0, 1, 2, 15, 96, 945, 10170};
  for (int k = 1; k <= 6; ++k) {
    EXPECT_LT(std::abs(moment[k] - expected[k]), kMaxZ * std::sqrt(variance[k] / kNumbers)) << k;
  }
}

double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

/// Pearson's statistic of counts against equal expectations, as a normal number (Wilson & Hilferty 1931).
double chi_square_z(const std::vector<int64_t>& counts, int64_t n) {
  const auto bins = static_cast<double>(counts.size());
  double statistic = 0;
  for (int64_t count : counts) {
    const double error = static_cast<double>(count) - n / bins;
    statistic += error * error / (n / bins);
  }
  const double spread = 2 / (9 * (bins - 1));
  return (std::cbrt(statistic / (bins - 1)) - (1 - spread)) / std::sqrt(spread);
}

TEST(Normal, FallsIntoQuantileBinsEquallyOften) {
  constexpr int kBins = 1000;
  std::vector<int64_t> counts(kBins);
  for (double value : float_normals()) {
    ++counts[std::min(kBins - 1, static_cast<int>(normal_cdf(value) * kBins))];
  }
  EXPECT_LT(std::abs(chi_square_z(counts, kNumbers)), kMaxZ);
}

TEST(Normal, HasTheTailsOfTheNormalLaw) {
  for (double limit : {2.0, 3.0, 4.0}) {
    int64_t above = 0, below = 0;
    for (double value : float_normals()) above += value > limit, below += value < -limit;
    const double expected = kNumbers * normal_cdf(-limit);
    EXPECT_LT(std::abs(static_cast<double>(above) - expected), kMaxZ * std::sqrt(expected));
    EXPECT_LT(std::abs(static_cast<double>(below) - expected), kMaxZ * std::sqrt(expected));
  }
}

TEST(Normal, TheTwoNumbersOfAPairAndOfNeighboursAreIndependent) {
  // By their joint law in a grid of quantiles, which sees more than a correlation: r cos and r sin share r.
  constexpr int kBins = 12;
  const std::vector<double>& x = float_normals();
  for (int64_t distance : {1, 16, 32, 48, 64}) {
    std::vector<int64_t> counts(kBins * kBins);
    int64_t n = 0;
    const auto bin = [&](int64_t i) {
      return std::min(kBins - 1, static_cast<int>(normal_cdf(x[i]) * kBins));
    };
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t site = 0; site + distance < kSites; ++site) {
        if (site / distance % 2 == 1) continue;  // every number in one pair
        const int64_t i = row * kSites + site;
        ++counts[bin(i) * kBins + bin(i + distance)];
        ++n;
      }
    }
    EXPECT_LT(std::abs(chi_square_z(counts, n)), kMaxZ) << "sites " << distance << " apart";
  }
}

// --- The Langevin step --------------------------------------------------------------------------------

template <typename T>
class LangevinKernel : public ::testing::Test {};
using FloatingTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(LangevinKernel, FloatingTypes, );

template <typename T>
constexpr T kInf = std::numeric_limits<T>::infinity();

/// Chains whose coordinates and scores are simple numbers, and a drift and noise for each.
template <typename T>
struct Chains {
  explicit Chains(int64_t sites) : n(sites), x(kChains * sites), score(kChains * sites) {
    for (int64_t i = 0; i < kChains * n; ++i) {
      x[i] = static_cast<T>(i % 7) - 3;
      score[i] = static_cast<T>(i % 11) - 5;
    }
  }

  std::vector<T> step(const Probe& probe, Tiles tiles, T max_score = kInf<T>, T low = -kInf<T>,
                      T high = kInf<T>) {
    std::vector<T> next(kChains * n, T(-100));
    finite = table_of<T>(probe).langevin_update(x.data(), score.data(),
                                                {{drift, 1}, {noise, 1}, max_score, low, high},
                                                next.data(), tiles, kDraw);
    return next;
  }

  int64_t tiles_per_row() const { return (n + kTileSites - 1) / kTileSites; }
  std::vector<T> step(const Probe& probe, T max_score = kInf<T>, T low = -kInf<T>,
                      T high = kInf<T>) {
    return step(probe, {0, kChains * tiles_per_row(), n}, max_score, low, high);
  }

  static constexpr int64_t kChains = 3;
  static constexpr Draw kDraw{21, 4, 3};
  const T drift[kChains] = {T(0.5), T(0), T(2)};
  const T noise[kChains] = {T(1), T(0.25), T(0)};
  int64_t n;
  std::vector<T> x;
  std::vector<T> score;
  bool finite = false;
};

TYPED_TEST(LangevinKernel, MakesTheStepOfTheFormula) {
  using T = TypeParam;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : {1, 3, 15, 16, 17, 63, 64, 65, 200}) {
      Chains<T> chains(n);
      std::vector<T> xi(3 * n);
      table_of<T>(*probe).fill_normal(xi.data(), {0, 3, n}, Chains<T>::kDraw);
      const std::vector<T> plain = chains.step(*probe);
      EXPECT_TRUE(chains.finite);
      const std::vector<T> cut = chains.step(*probe, T(2), T(-1.5), T(2.5));
      for (int64_t i = 0; i < 3 * n; ++i) {
        const T drift = chains.drift[i / n], noise = chains.noise[i / n], g = chains.score[i];
        ASSERT_NEAR(plain[i], chains.x[i] + drift * g + noise * xi[i], 2e-6);
        const T short_step = chains.x[i] + drift * std::clamp(g, T(-2), T(2)) + noise * xi[i];
        ASSERT_NEAR(cut[i], std::clamp(short_step, T(-1.5), T(2.5)), 2e-6);
      }
    }
  }
}

TYPED_TEST(LangevinKernel, TilesDoNotDependOnHowTheyAreSplit) {
  using T = TypeParam;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : {1, 64, 65, 200}) {
      Chains<T> chains(n);
      const std::vector<T> whole = chains.step(*probe);
      const int64_t n_tiles = 3 * chains.tiles_per_row();
      for (int64_t tile = 0; tile < n_tiles; ++tile) {
        const std::vector<T> part = chains.step(*probe, Tiles{tile, tile + 1, n});
        const int64_t row = tile / chains.tiles_per_row();
        const int64_t first = row * n + tile % chains.tiles_per_row() * kTileSites;
        const int64_t last = std::min((row + 1) * n, first + kTileSites);
        for (int64_t i = 0; i < 3 * n; ++i) {
          ASSERT_EQ(part[i], i >= first && i < last ? whole[i] : T(-100)) << i << ' ' << tile;
        }
      }
    }
  }
}

TYPED_TEST(LangevinKernel, NamesWhatIsNotFiniteAndCutsInfinityButNotNaN) {
  using T = TypeParam;
  constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : {1, 17, 70}) {
      for (int64_t bad = 0; bad < n; ++bad) {
        Chains<T> chains(n);
        chains.score[bad] = kNaN;
        EXPECT_TRUE(std::isnan(chains.step(*probe)[bad]));
        EXPECT_FALSE(chains.finite);
        EXPECT_TRUE(std::isnan(chains.step(*probe, T(1), T(-1), T(1))[bad]));
        EXPECT_FALSE(chains.finite);
        chains.score[bad] = -kInf<T>;
        EXPECT_EQ(chains.step(*probe)[bad], -kInf<T>);
        EXPECT_FALSE(chains.finite);
        EXPECT_TRUE(std::isfinite(chains.step(*probe, T(1))[bad]));
        EXPECT_TRUE(chains.finite);
      }
    }
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
