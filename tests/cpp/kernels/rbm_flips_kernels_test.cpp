// The kernels of an RBM's flips against their definition, in every instruction set.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

constexpr int64_t kSites = 3, kExamples = 5, kHidden = 40, kStride = 64;

template <typename T>
struct Flips : testing::Test {
  Flips() : on(kExamples * kStride), off(on.size()), ratio(kSites * kStride), weight(ratio.size()) {
    std::mt19937 random(1);
    std::normal_distribution<double> normal;
    std::vector<double> input(on.size());
    for (int64_t i = 0; i < kExamples; ++i) {
      for (int64_t j = 0; j < kHidden; ++j) input[i * kStride + j] = 2 * normal(random);
    }
    for (size_t k = 0; k < on.size(); ++k) {
      on[k] = 1 / (1 + std::exp(-input[k]));
      off[k] = 1 / (1 + std::exp(input[k]));
    }
    for (int64_t i = 0; i < kSites; ++i) {
      for (int64_t j = 0; j < kHidden; ++j) weight[i * kStride + j] = 3 * normal(random);
    }
    for (size_t k = 0; k < ratio.size(); ++k) ratio[k] = std::exp(weight[k]);
    // Not every pair, runs of more and of less than four, and both states.
    for (int64_t s : {0, 2}) {
      for (int64_t n = 0; n < (s == 0 ? kExamples : 2); ++n) {
        site.push_back(s);
        example.push_back(n);
        gradient.push_back(normal(random));
      }
    }
  }

  HiddenLayer<T> layer() const {
    return {{on.data(), kExamples, kStride},
            {off.data(), kExamples, kStride},
            {ratio.data(), kSites, kStride}};
  }
  FlipPairs pairs() const { return {site.data(), example.data(), bits}; }
  T s(size_t p, int64_t j) const { return (bits[p] ? off : on)[example[p] * kStride + j]; }
  T rest(size_t p, int64_t j) const { return (bits[p] ? on : off)[example[p] * kStride + j]; }
  T e(size_t p, int64_t j) const { return ratio[site[p] * kStride + j]; }

  std::vector<T> on, off, ratio, weight, gradient;
  std::vector<int64_t> site, example;
  const bool bits[7] = {false, true, true, false, true, true, false};
};

using Precisions = testing::Types<float, double>;
TYPED_TEST_SUITE(Flips, Precisions);

TYPED_TEST(Flips, SumsAreTheLogarithmsOfTheFactors) {
  for (const Probe* probe : instruction_sets()) {
    for (const int64_t at_once : {1, 2, 5}) {
      std::vector<TypeParam> sums(this->site.size(), -1);
      const auto size = static_cast<int64_t>(sums.size());
      const auto& table = table_of<TypeParam>(*probe);
      table.rbm_flip_sums(this->layer(), this->pairs(), at_once, sums.data(), 0, 2);
      EXPECT_EQ(sums[2], -1) << "beyond the range";
      table.rbm_flip_sums(this->layer(), this->pairs(), at_once, sums.data(), 2, size);
      for (size_t p = 0; p < sums.size(); ++p) {
        double expected = 0;
        for (int64_t j = 0; j < kHidden; ++j) {
          expected += std::log(static_cast<double>(this->rest(p, j)) +
                               static_cast<double>(this->s(p, j)) * this->e(p, j));
        }
        const double tolerance = std::is_same_v<TypeParam, float> ? 2e-5 : 1e-12;
        EXPECT_NEAR(sums[p], expected, tolerance) << probe->name << ", pair " << p;
      }
    }
  }
}

TYPED_TEST(Flips, BackwardAddsTheQuotients) {
  for (const Probe* probe : instruction_sets()) {
    std::vector<TypeParam> weight_gradient(kSites * kStride, 1);
    std::vector<TypeParam> input_gradient(kExamples * kStride, -7);
    const auto n_pairs = static_cast<int64_t>(this->site.size());
    const auto& table = table_of<TypeParam>(*probe);
    for (const auto& [begin, end] : {std::pair(0, 32), std::pair(32, 64)}) {
      table.rbm_flip_sums_backward(this->layer(), this->pairs(), n_pairs, this->gradient.data(),
                                   weight_gradient.data(), input_gradient.data(), begin, end);
    }
    std::vector<double> of_weight(weight_gradient.size(), 1), of_input(input_gradient.size(), 0);
    for (size_t p = 0; p < this->site.size(); ++p) {
      for (int64_t j = 0; j < kHidden; ++j) {
        const double part = static_cast<double>(this->gradient[p]) * this->rest(p, j) /
                            (static_cast<double>(this->rest(p, j)) +
                             static_cast<double>(this->s(p, j)) * this->e(p, j));
        of_weight[this->site[p] * kStride + j] -= part;
        of_input[this->example[p] * kStride + j] += this->bits[p] ? part : -part;
      }
    }
    const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 1e-13;
    for (int64_t j = 0; j < kHidden; ++j) {
      for (int64_t i = 0; i < kSites; ++i) {
        EXPECT_NEAR(weight_gradient[i * kStride + j], of_weight[i * kStride + j], tolerance)
            << probe->name;
      }
      for (int64_t n = 0; n < kExamples; ++n) {
        EXPECT_NEAR(input_gradient[n * kStride + j], of_input[n * kStride + j], tolerance)
            << probe->name;
      }
    }
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
