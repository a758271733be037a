#include "csrc/kernels/cpu/kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

// Sizes around the widths of registers (4, 8, 16) and of a tile of random words (64).
constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129};

std::vector<float> words_as_floats(const std::vector<uint32_t>& words) {
  std::vector<float> result;
  for (uint32_t word : words) result.push_back((static_cast<float>(word >> 9) + 0.5f) / 8388608.f);
  return result;
}

using Words = std::array<uint32_t, 4>;

/// Threefry4x32-20 word by word, from section 4 of Salmon et al. (2011) and the rotations of its table 2.
Words threefry_by_the_paper(Words key, Words counter) {
  constexpr int kRotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5},
                                    {6, 20},  {17, 11}, {25, 10}, {18, 20}};
  const uint32_t parity = 0x1BD11BDAu ^ key[0] ^ key[1] ^ key[2] ^ key[3];
  const std::array<uint32_t, 5> extended = {key[0], key[1], key[2], key[3], parity};
  Words x;
  for (int i = 0; i < 4; ++i) x[i] = counter[i] + key[i];
  for (int round = 0; round < 20; ++round) {
    x[0] += x[1];
    x[1] = std::rotl(x[1], kRotations[round % 8][0]) ^ x[0];
    x[2] += x[3];
    x[3] = std::rotl(x[3], kRotations[round % 8][1]) ^ x[2];
    std::swap(x[1], x[3]);
    if (round % 4 == 3) {
      const int injection = round / 4 + 1;
      for (int i = 0; i < 4; ++i) x[i] += extended[(injection + i) % 5];
      x[3] += injection;
    }
  }
  return x;
}

template <typename T>
class KernelsOf : public ::testing::Test {};
using FloatingTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(KernelsOf, FloatingTypes, );

// --- Random words -----------------------------------------------------------------------------------

TEST(Threefry, ReferenceGivesTheKnownAnswers) {
  constexpr uint32_t kOnes = 0xffffffffu;
  EXPECT_EQ(threefry_by_the_paper({0, 0, 0, 0}, {0, 0, 0, 0}),
            (Words{0x9c6ca96a, 0xe17eae66, 0xfc10ecd4, 0x5256a7d8}));
  EXPECT_EQ(threefry_by_the_paper({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}),
            (Words{0x2a881696, 0x57012287, 0xf6c7446e, 0xa16a6732}));
  EXPECT_EQ(threefry_by_the_paper({0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89},
                                  {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0x59cd1dbb, 0xb8879579, 0x86b5d00c, 0xac8b6d84}));
}

TEST(Threefry, EveryInstructionSetGivesTheKnownAnswer) {
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    std::vector<uint32_t> words(64);
    probe->words({0, 0, 0}, 0, 64, words.data());
    EXPECT_EQ((Words{words[0], words[16], words[32], words[48]}),
              (Words{0x9c6ca96a, 0xe17eae66, 0xfc10ecd4, 0x5256a7d8}));
  }
}

TEST(Threefry, EveryInstructionSetDrawsTheWordsOfThePaper) {
  std::mt19937_64 random(1);
  for (int64_t n : kSizes) {
    const uint64_t key = random();
    const auto chain = static_cast<uint32_t>(random());
    const auto step = static_cast<uint32_t>(random());
    const auto stream = static_cast<uint32_t>(random());
    std::vector<uint32_t> expected(n);
    for (int64_t site = 0; site < n; ++site) {
      // Tiles of 64 sites: word w of block l serves site 16 w + l.
      const auto block = static_cast<uint32_t>(site / 64 * 16 + site % 16);
      const Words words = threefry_by_the_paper(
          {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), 0, 0},
          {block, chain, step, stream});
      expected[site] = words[site % 64 / 16];
    }
    for (const Probe* probe : instruction_sets()) {
      SCOPED_TRACE(probe->name);
      std::vector<uint32_t> words(n);
      probe->words({key, step, stream}, chain, n, words.data());
      EXPECT_EQ(words, expected);
    }
  }
}

TEST(Uniform, IsTheTopBitsOfTheWordInTheOpenInterval) {
  constexpr int64_t kSites = 100000;
  const Draw draw{7, 3, 1};
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    std::vector<uint32_t> words(kSites);
    probe->words(draw, 5, kSites, words.data());
    std::vector<float> rows(6 * kSites);
    probe->float_table->fill_uniform(rows.data(), {5, 6, kSites}, draw);
    const std::vector<float> u(rows.begin() + 5 * kSites, rows.end());
    EXPECT_EQ(u, words_as_floats(words));
    std::vector<double> rows_double(6 * kSites);
    probe->double_table->fill_uniform(rows_double.data(), {5, 6, kSites}, draw);
    for (int64_t i = 0; i < kSites; ++i) {
      const double v = rows_double[5 * kSites + i];
      ASSERT_EQ(v, (words[i] + 0.5) / 4294967296.0);
      ASSERT_NEAR(v, u[i], 1.3e-7);
    }
  }
}

TEST(Uniform, IsOpenAndSymmetricAtItsExtremes) {
  // The smallest and the largest word.
  EXPECT_EQ((words_as_floats({0u})[0]), 0.5f / 8388608.f);
  EXPECT_LT((words_as_floats({0xffffffffu})[0]), 1.f);
  EXPECT_EQ(words_as_floats({0u})[0], 1.f - words_as_floats({0xffffffffu})[0]);
}

TYPED_TEST(KernelsOf, RowsDoNotDependOnHowTheyAreSplit) {
  using T = TypeParam;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (auto fill : {table_of<T>(*probe).fill_uniform, table_of<T>(*probe).fill_normal}) {
      constexpr int64_t kRows = 6, kSites = 37;
      std::vector<T> whole(kRows * kSites), parts(kRows * kSites);
      fill(whole.data(), {0, kRows, kSites}, {11, 2, 0});
      for (int64_t row = kRows - 1; row >= 0; --row) {
        fill(parts.data(), {row, row + 1, kSites}, {11, 2, 0});
      }
      EXPECT_EQ(whole, parts);
    }
  }
}

TYPED_TEST(KernelsOf, FillsTouchNothingOutsideTheirRows) {
  using T = TypeParam;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : kSizes) {
      for (auto fill : {table_of<T>(*probe).fill_uniform, table_of<T>(*probe).fill_normal}) {
        std::vector<T> x(3 * n, T(-100));
        fill(x.data(), {1, 2, n}, {1, 1, 1});
        for (int64_t i = 0; i < 3 * n; ++i) EXPECT_EQ(x[i] == T(-100), i < n || i >= 2 * n);
      }
    }
  }
}

// --- Vector mathematics -----------------------------------------------------------------------------

std::vector<float> between(float low, float high, int n) {
  std::vector<float> x;
  for (int i = 0; i <= n; ++i) x.push_back(low + (high - low) * static_cast<float>(i) / n);
  return x;
}

/// Both ends, many values between them, and small ones of either sign where the interval has them.
std::vector<float> arguments(float low, float high) {
  std::vector<float> x = between(low, high, 200003);
  for (float small = 1; small > 1e-38f; small /= 3) {
    if (-small >= low) x.push_back(-small);
    if (small <= high) x.push_back(small);
  }
  x.push_back(0);
  return x;
}

void expect_relative_error_below(double limit, void (*function)(const float*, int64_t, float*),
                                 double (*libm)(double), const std::vector<float>& x) {
  std::vector<float> y(x.size());
  function(x.data(), static_cast<int64_t>(x.size()), y.data());
  double worst = 0;
  float worst_at = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = libm(x[i]);
    const double error =
        expected == 0 ? std::abs(y[i]) : std::abs(y[i] - expected) / std::abs(expected);
    if (!(error <= worst)) worst = error, worst_at = x[i];
  }
  EXPECT_LT(worst, limit) << "at " << worst_at;
}

TEST(VectorMath, AgreesWithLibm) {
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    expect_relative_error_below(
        3e-7, probe->exp, [](double v) { return std::exp(v); }, arguments(-87, 88));
    expect_relative_error_below(
        3e-7, probe->expm1, [](double v) { return std::expm1(v); }, arguments(-87, 88));
    expect_relative_error_below(
        3e-7, probe->log1p_negative_half, [](double v) { return std::log1p(v); },
        arguments(-0.5f, 0));
  }
}

/// Words around the powers of two and their complements, and many others.
std::vector<uint32_t> many_words() {
  std::vector<uint32_t> words;
  for (int bit = 0; bit < 32; ++bit) {
    for (uint32_t offset : {-2u, -1u, 0u, 1u, 2u}) {
      words.push_back((1u << bit) + offset);
      words.push_back(~words.back());
      words.push_back(words.back() + (1u << 30));
    }
  }
  std::mt19937 random(12);
  for (int i = 0; i < 200000; ++i) words.push_back(static_cast<uint32_t>(random()));
  return words;
}

TEST(VectorMath, FunctionsOfWordsAgreeWithLibm) {
  const std::vector<uint32_t> words = many_words();
  const auto n = static_cast<int64_t>(words.size());
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    std::vector<float> log(n), sin(n), cos(n);
    probe->log_uniform(words.data(), n, log.data());
    probe->sin(words.data(), n, sin.data());
    probe->cos(words.data(), n, cos.data());
    for (int64_t i = 0; i < n; ++i) {
      const long double u = (words[i] + 0.5L) / 4294967296.0L;
      const long double expected = std::log(u);
      ASSERT_LT(log[i], 0) << words[i];
      ASSERT_LT(std::abs(log[i] - expected), 3e-7L * std::abs(expected)) << words[i];
      const long double angle = 2 * 3.14159265358979323846L * u;
      ASSERT_LT(std::abs(sin[i] - std::sin(angle)), 2e-7L) << words[i];
      ASSERT_LT(std::abs(cos[i] - std::cos(angle)), 2e-7L) << words[i];
    }
  }
}

TEST(VectorMath, CutsLargeArgumentsAndTakesNaN) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {-kInf, -1e30f, -88, 89, 1e30f, kInf, std::nanf("")};
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    std::vector<float> y(x.size());
    probe->exp(x.data(), static_cast<int64_t>(x.size()), y.data());
    for (int i : {0, 1, 2}) EXPECT_NEAR(y[i] / std::exp(-87.0), 1, 1e-6);
    for (int i : {3, 4, 5}) EXPECT_NEAR(y[i] / std::exp(88.0), 1, 1e-6);
    EXPECT_FALSE(std::isinf(y[6]));
    probe->expm1(x.data(), static_cast<int64_t>(x.size()), y.data());
    for (int i : {0, 1, 2}) EXPECT_EQ(y[i], -1.f);
    for (int i : {3, 4, 5}) EXPECT_NEAR(y[i] / std::exp(88.0), 1, 1e-6);
  }
}

// --- Bernoulli units --------------------------------------------------------------------------------

TYPED_TEST(KernelsOf, BernoulliComparesTheUniformWithTheSigmoid) {
  using T = TypeParam;
  std::mt19937_64 random(2);
  std::normal_distribution<T> normal(0, 3);
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : kSizes) {
      constexpr int64_t kRows = 5;
      std::vector<T> field(kRows * n), bias(n), beta(kRows);
      for (T& value : field) value = normal(random);
      for (T& value : bias) value = normal(random);
      for (int64_t row = 0; row < kRows; ++row) beta[row] = T(0.5) * static_cast<T>(row);
      const Draw draw{random(), 9, 1};
      std::vector<T> u(kRows * n), x = field;
      table_of<T>(*probe).fill_uniform(u.data(), {0, kRows, n}, draw);
      EXPECT_TRUE(table_of<T>(*probe).sample_bernoulli(x.data(), bias.data(), {beta.data(), 1},
                                                       {0, kRows, n}, draw));
      for (int64_t i = 0; i < kRows * n; ++i) {
        const double logit = double(beta[i / n]) * (double(field[i]) + double(bias[i % n]));
        const double p = 1 / (1 + std::exp(-logit));
        if (std::abs(u[i] - p) > 1e-5) {
          ASSERT_EQ(x[i], T(u[i] < p)) << n << ' ' << i;
        }
        ASSERT_TRUE(x[i] == 0 || x[i] == 1);
      }
    }
  }
}

TYPED_TEST(KernelsOf, EveryInstructionSetDrawsTheSameUnits) {
  using T = TypeParam;
  std::mt19937_64 random(3);
  std::normal_distribution<T> normal(0, 2);
  constexpr int64_t kRows = 100, kSites = 101;
  std::vector<T> field(kRows * kSites), bias(kSites);
  for (T& value : field) value = normal(random);
  for (T& value : bias) value = normal(random);
  const T beta = T(0.75);
  std::vector<T> expected = field;
  table_of<T>(baseline::probe)
      .sample_bernoulli(expected.data(), bias.data(), {&beta, 0}, {0, kRows, kSites}, {1, 2, 0});
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    std::vector<T> x = field;
    table_of<T>(*probe).sample_bernoulli(x.data(), bias.data(), {&beta, 0}, {0, kRows, kSites},
                                         {1, 2, 0});
    EXPECT_EQ(x, expected);
  }
}

TYPED_TEST(KernelsOf, BernoulliIsDeterministicAtExtremeLogits) {
  using T = TypeParam;
  constexpr T kInf = std::numeric_limits<T>::infinity();
  const T bias[8] = {};
  const T one = 1;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (uint32_t step = 0; step < 1000; ++step) {
      T x[8] = {kInf, -kInf, T(1e30), T(-1e30), T(90), T(-90), T(60), T(-60)};
      EXPECT_TRUE(
          table_of<T>(*probe).sample_bernoulli(x, bias, {&one, 0}, {0, 1, 8}, {4, step, 0}));
      for (int i = 0; i < 8; ++i) ASSERT_EQ(x[i], T(i % 2 == 0)) << i;
    }
  }
}

TYPED_TEST(KernelsOf, BernoulliFlagsNaNAtEveryPosition) {
  using T = TypeParam;
  const T one = 1;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : kSizes) {
      const std::vector<T> bias(n, T(20));
      for (int64_t bad = 0; bad < 2 * n; ++bad) {
        std::vector<T> x(2 * n, T(20));
        x[bad] = std::numeric_limits<T>::quiet_NaN();
        EXPECT_FALSE(table_of<T>(*probe).sample_bernoulli(x.data(), bias.data(), {&one, 0},
                                                          {0, 2, n}, {4, 0, 0}));
        ASSERT_EQ(x[bad], 0);
      }
    }
  }
}

TYPED_TEST(KernelsOf, InfinityMinusInfinityIsFlagged) {
  using T = TypeParam;
  const T one = 1, bias = -std::numeric_limits<T>::infinity();
  for (const Probe* probe : instruction_sets()) {
    T x = std::numeric_limits<T>::infinity();
    EXPECT_FALSE(table_of<T>(*probe).sample_bernoulli(&x, &bias, {&one, 0}, {0, 1, 1}, {4, 0, 0}));
  }
}

// --- Log ratios of AIS ------------------------------------------------------------------------------

long double softplus_difference(long double a, long double from, long double to) {
  const long double half = (to - from) / 2;
  if (half * std::abs(a) < 1e-2L) {
    // The definition cancels, even in long double; the integral of a sigmoid(t a) over t does not. Three
    // points (Gauss-Legendre) leave a relative error of about (half a)^6 / 2000.
    const auto slope = [&](long double point) {
      return a / (1 + std::exp(-((from + to) / 2 + point * half) * a));
    };
    const long double node = std::sqrt(0.6L);
    return half * (5 * slope(-node) + 8 * slope(0) + 5 * slope(node)) / 9;
  }
  const auto softplus = [](long double x) {
    return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x)));
  };
  return softplus(to * a) - softplus(from * a);
}

TYPED_TEST(KernelsOf, SoftplusDifferenceIsAccurateRelativeToItself) {
  using T = TypeParam;
  const double limit = std::is_same_v<T, float> ? 2e-6 : 1e-13;
  const T temperatures[][2] = {{0, 1},
                               {0, T(1e-3)},
                               {T(0.5), T(0.501)},
                               {T(0.999), 1},
                               {T(0.5), T(0.500001)},
                               {1, T(1) + T(1e-6)},
                               {T(0.25), T(0.75)},
                               {T(1e-7), T(2e-7)}};
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (const auto& [from, to] : temperatures) {
      for (T a : {T(0),   T(1e-20), T(-1e-20), T(1e-3), T(-1e-3), T(0.1), T(-0.1),
                  T(1),   T(-1),    T(5),      T(-5),   T(20),    T(-20), T(50),
                  T(-50), T(300),   T(-300),   T(1e4),  T(-1e4),  T(1e30)}) {
        const T bias = 0;
        double result = 0;
        table_of<T>(*probe).add_softplus_difference(&a, &bias, from, to, &result, {0, 1, 1});
        const auto expected = static_cast<double>(softplus_difference(a, from, to));
        // Below exp(-87), what float's exp can do, only an absolute error counts.
        EXPECT_NEAR(result, expected,
                    limit * std::abs(expected) + (sizeof(T) == 4 ? 1e-37 : 1e-300))
            << "a = " << a << ", " << from << " -> " << to;
      }
    }
  }
}

TYPED_TEST(KernelsOf, SoftplusDifferenceAddsUpRowsWithTails) {
  using T = TypeParam;
  std::mt19937_64 random(6);
  std::normal_distribution<T> normal(0, 4);
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    for (int64_t n : kSizes) {
      constexpr int64_t kRows = 4;
      std::vector<T> field(kRows * n), bias(n);
      for (T& value : field) value = normal(random);
      for (T& value : bias) value = normal(random);
      std::vector<double> result(kRows, 1.5);
      table_of<T>(*probe).add_softplus_difference(field.data(), bias.data(), T(0.25), T(0.75),
                                                  result.data(), {1, 3, n});
      EXPECT_EQ(result[0], 1.5);
      EXPECT_EQ(result[3], 1.5);
      for (int64_t row : {1, 2}) {
        double expected = 1.5;
        double magnitude = 1.5;
        for (int64_t site = 0; site < n; ++site) {
          const T a = field[row * n + site] + bias[site];
          const auto term = static_cast<double>(softplus_difference(a, 0.25L, 0.75L));
          expected += term;
          magnitude += std::abs(term);
        }
        EXPECT_NEAR(result[row], expected, 1e-6 * magnitude);
      }
    }
  }
}

// --- Questions --------------------------------------------------------------------------------------

TYPED_TEST(KernelsOf, AllBinaryFindsTheBadValueAtEveryPosition) {
  using T = TypeParam;
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    const auto all_binary = table_of<T>(*probe).all_binary;
    EXPECT_TRUE(all_binary(nullptr, 0));
    for (int64_t n : kSizes) {
      std::vector<T> x(n);
      for (int64_t i = 0; i < n; ++i) x[i] = T(i % 2);
      EXPECT_TRUE(all_binary(x.data(), n));
      x.push_back(T(2));  // past the end
      EXPECT_TRUE(all_binary(x.data(), n));
      for (int64_t i = 0; i < n; ++i) {
        for (T bad : {T(0.5), T(-1), T(2), T(1) + std::numeric_limits<T>::epsilon(),
                      std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::infinity(),
                      std::numeric_limits<T>::quiet_NaN()}) {
          const T good = std::exchange(x[i], bad);
          EXPECT_FALSE(all_binary(x.data(), n)) << bad << " at " << i << " of " << n;
          x[i] = good;
        }
      }
    }
    const T minus_zero = T(-0.0);
    EXPECT_TRUE(all_binary(&minus_zero, 1));
  }
}

TYPED_TEST(KernelsOf, AllFiniteFindsTheBadValueAtEveryPosition) {
  using T = TypeParam;
  constexpr T kInf = std::numeric_limits<T>::infinity();
  for (const Probe* probe : instruction_sets()) {
    SCOPED_TRACE(probe->name);
    const auto all_finite = table_of<T>(*probe).all_finite;
    EXPECT_TRUE(all_finite(nullptr, 0));
    for (int64_t n : kSizes) {
      std::vector<T> x(n, std::numeric_limits<T>::max());
      EXPECT_TRUE(all_finite(x.data(), n));
      x.push_back(kInf);  // past the end
      EXPECT_TRUE(all_finite(x.data(), n));
      for (int64_t i = 0; i < n; ++i) {
        for (T bad : {kInf, -kInf, std::numeric_limits<T>::quiet_NaN()}) {
          const T good = std::exchange(x[i], bad);
          EXPECT_FALSE(all_finite(x.data(), n)) << bad << " at " << i << " of " << n;
          x[i] = good;
        }
      }
    }
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
