#pragma once
// Statistical checks. Seeds are fixed, so a test passes always or never; a threshold only says how unlucky a
// right sampler may be with its seed. Every check may fail with probability kAlpha = 5e-6: |z| > 4.56
// for one number, the upper 5e-6 quantile for a chi-square. Some hundreds of checks then leave a chance
// below 1 in 500 that a change of seeds alone breaks one.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace torch_ebm::testing {

constexpr double kAlpha = 5e-6;
constexpr double kMaxZ = 4.56;

/// P(X > statistic) for X ~ chi-square.
inline double chi_square_tail(double statistic, int64_t degrees) {
  const auto number = [](double value) {
    return at::full({}, value, at::TensorOptions().dtype(at::kDouble));
  };
  return at::special_gammaincc(number(static_cast<double>(degrees) / 2), number(statistic / 2))
      .item<double>();
}

/// Pearson's test that `counts` (K,) came from `probabilities` (K,), known up to a factor. States of
/// probability 0 must not have been seen at all; those expected fewer than 5 times are counted together
/// with the next rarest.
inline ::testing::AssertionResult counts_fit(const at::Tensor& counts,
                                             const at::Tensor& probabilities) {
  const at::Tensor seen = counts.to(at::kDouble);
  const at::Tensor p = probabilities.to(at::kDouble) / probabilities.sum().to(at::kDouble);
  const at::Tensor possible = p > 0;
  if (seen.masked_select(possible.logical_not()).sum().item<double>() > 0) {
    return ::testing::AssertionFailure() << "a state of probability 0 was visited: " << counts;
  }
  const auto [sorted, order] = (p * seen.sum()).masked_select(possible).sort();
  const int64_t rare = sorted.lt(5).sum().item<int64_t>();
  const auto pool = [&](const at::Tensor& x) {
    return rare == 0 ? x : at::cat({x.slice(0, 0, rare + 1).sum().view({1}), x.slice(0, rare + 1)});
  };
  const at::Tensor expected = pool(sorted);
  if (expected.numel() < 2) return ::testing::AssertionFailure() << "draw more: " << sorted;
  const at::Tensor observed = pool(seen.masked_select(possible).index_select(0, order));
  const double statistic = ((observed - expected).square() / expected).sum().item<double>();
  const double tail = chi_square_tail(statistic, expected.numel() - 1);
  if (tail > kAlpha) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "chi-square " << statistic << ", p = " << tail
                                       << "\nseen " << observed << "\nexpected " << expected;
}

/// That independent `samples` (N,) have the mean `expected`.
inline ::testing::AssertionResult mean_is(const at::Tensor& samples, double expected) {
  const at::Tensor x = samples.to(at::kDouble);
  const double error = x.std().item<double>() / std::sqrt(static_cast<double>(x.numel()));
  const double z = (x.mean().item<double>() - expected) / error;
  if (std::abs(z) < kMaxZ) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "mean " << x.mean().item<double>() << ", expected " << expected << ", z = " << z;
}

/// All states of n binary units, (2^n, n): row r holds the digits of r, the lowest first.
inline at::Tensor all_states(int64_t n, at::ScalarType dtype = at::kDouble) {
  const at::Tensor numbers = at::arange(int64_t{1} << n).unsqueeze(1);
  return numbers.bitwise_right_shift(at::arange(n).unsqueeze(0)).bitwise_and(1).to(dtype);
}

/// How often each of the 2^n states occurs among the rows of x, in the order of all_states.
inline at::Tensor state_counts(const at::Tensor& x) {
  const at::Tensor rows = x.reshape({x.size(0), -1}).to(at::kLong);
  const at::Tensor power = at::ones({}, at::kLong).bitwise_left_shift(at::arange(rows.size(1)));
  return at::bincount((rows * power).sum(1), {}, int64_t{1} << rows.size(1));
}

/// n rows of `states`, drawn independently with the given probabilities.
inline at::Tensor draw_states(const at::Tensor& states, const at::Tensor& probabilities, int64_t n,
                              const at::Generator& generator) {
  return states.index_select(0, at::multinomial(probabilities, n, true, generator));
}

}  // namespace torch_ebm::testing
