#pragma once
// The public kit's checks as gtest assertions. Seeds are fixed, so a test passes always or never; a threshold only
// says how unlucky a right sampler may be with its seed. Every check may fail with probability kAlpha: some
// hundreds of checks then leave a chance below 1 in 1000 that a change of seeds alone breaks one.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "torch_ebm/testing/testing.h"

namespace torch_ebm::testing {

constexpr double kAlpha = 1e-6;
constexpr double kMaxZ = 4.89;  // P(|Z| > kMaxZ) = kAlpha

inline ::testing::AssertionResult passes(const Check& check) {
  if (check.passes(kAlpha)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << check.what << ": p = " << check.p_value << "; " << check.detail;
}

/// That `counts` (K,) came from `probabilities` (K,), known up to a factor.
inline ::testing::AssertionResult counts_fit(const at::Tensor& counts,
                                             const at::Tensor& probabilities) {
  return passes(chi_square_check(counts, probabilities));
}

/// That independent `samples` (N,) have the mean `expected`.
inline ::testing::AssertionResult mean_is(const at::Tensor& samples, double expected) {
  return passes(mean_check(samples, expected));
}

/// All states of n binary units, (2^n, n): row r holds the digits of r, the lowest first.
inline at::Tensor all_states(int64_t n, at::ScalarType dtype = at::kDouble) {
  return enumerate_states({n}, dtype);
}

/// How often each of the 2^n states occurs among the rows of x, in the order of all_states.
inline at::Tensor state_counts(const at::Tensor& x) {
  return at::bincount(state_numbers(x), {}, int64_t{1} << (x.numel() / x.size(0)));
}

/// n rows of `states`, drawn independently with the given probabilities.
inline at::Tensor draw_states(const at::Tensor& states, const at::Tensor& probabilities, int64_t n,
                              const at::Generator& generator) {
  return states.index_select(0, at::multinomial(probabilities, n, true, generator));
}

}  // namespace torch_ebm::testing
