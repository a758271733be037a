#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>

namespace torch_ebm::testing {

inline at::Generator seeded(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

inline ::testing::AssertionResult close(const at::Tensor& a, const at::Tensor& b,
                                        double rtol = 1e-5, double atol = 1e-7) {
  if (a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
      at::allclose(a, b, rtol, atol)) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << a << "\nis not close to\n" << b;
}

/// That run(n_chains) gives the same chains with any number of threads, and as the first of many.
template <typename Run>
void expect_same_for_any_threads_and_chains(Run run, int64_t n_chains) {
  const int threads = at::get_num_threads();
  const at::Tensor expected = run(n_chains);
  for (int n : {1, 2, 5}) {
    at::set_num_threads(n);
    EXPECT_TRUE(at::equal(run(n_chains), expected)) << n << " threads";
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(run(7), expected.slice(0, 0, 7)));
}

}  // namespace torch_ebm::testing

/// That `statement` throws `type` with a message that holds `part`.
#define EXPECT_THROWS(statement, type, part)                                              \
  do {                                                                                    \
    try {                                                                                 \
      (void)(statement);                                                                  \
      ADD_FAILURE() << #statement " did not throw";                                       \
    } catch (const type& error) {                                                         \
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what(); \
    } catch (const std::exception& error) {                                               \
      ADD_FAILURE() << #statement " threw another type: " << error.what();                \
    }                                                                                     \
  } while (false)
