#include "torch_ebm/partition/bridging/mbar.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/partition/bridging/bridge_sampling.h"

namespace torch_ebm::mbar_test {
namespace {

using testing::close;
using testing::seeded;

/// Energies (x - k)^2 / (2 s_k^2) of n samples of each of K normal laws, s_k = 1, 2, 1, 2, ...
at::Tensor normal_energies(int64_t n_states, int64_t n, uint64_t seed) {
  const at::Tensor mean = at::arange(n_states, at::kDouble).unsqueeze(1);
  const at::Tensor scale = 1 + mean.remainder(2);
  const at::Tensor x = mean + scale * at::randn({n_states, n}, seeded(seed), at::kDouble);
  return ((x.flatten() - mean) / scale).square() / 2;
}

TEST(MBAR, FindsTheRatiosWithinTheirErrors) {
  const MBAREstimate estimate = mbar(normal_energies(4, 3000, 1), at::full({4}, 3000, at::kLong));
  const at::Tensor error = estimate.log_z - at::tensor({1.0, 2.0, 1.0, 2.0}, at::kDouble).log();
  const at::Tensor z = (error / estimate.covariance.diagonal().sqrt()).slice(0, 1).abs();
  EXPECT_LT(z.max().item<double>(), testing::kMaxZ);
  EXPECT_LT(estimate.covariance.diagonal().max().item<double>(), 0.001);
  EXPECT_TRUE(close(estimate.overlap.sum(1), at::ones({4}, at::kDouble)));
}

TEST(MBAR, OfTwoStatesIsBennetts) {
  const at::Tensor energies = normal_energies(2, 100, 2);
  const at::Tensor ratio = energies[0] - energies[1];
  const LogZEstimate bennett = bridge_sampling(ratio.slice(0, 0, 100), ratio.slice(0, 100));
  const MBAREstimate estimate = mbar(energies, at::full({2}, 100, at::kLong));
  EXPECT_NEAR(estimate.log_z[1].item<double>(), bennett.log_z.item<double>(), 1e-10);
}

TEST(MBAR, GivesTheMeansOfEveryState) {
  // Of three of four states there are samples: the last is reached by weights alone.
  const at::Tensor counts = at::tensor({3000, 3000, 3000, 0}, at::kLong);
  const at::Tensor mean = at::arange(4, at::kDouble) / 2;
  const at::Tensor x =
      (mean.slice(0, 0, 3).unsqueeze(1) + at::randn({3, 3000}, seeded(4), at::kDouble)).flatten();
  const at::Tensor energies = (x - mean.unsqueeze(1)).square() / 2;
  const at::Tensor values = at::stack({x, x.square(), at::ones_like(x)}, 1);
  const MBARExpectation found = mbar_expectation(energies, counts, values);
  const at::Tensor expected = at::stack({mean, mean.square() + 1}, 1);
  const at::Tensor z = ((found.mean - at::cat({expected, at::ones({4, 1})}, 1)) / found.std_error)
                           .slice(1, 0, 2)
                           .abs();
  EXPECT_LT(z.max().item<double>(), testing::kMaxZ);
  EXPECT_TRUE(close(found.mean.select(1, 2), at::ones({4}, at::kDouble), 1e-9));
  EXPECT_LT(found.std_error.slice(1, 0, 2).max().item<double>(), 0.2);
  const at::Tensor weights = mbar_weights(energies, counts);
  EXPECT_TRUE(close(at::mm(weights, values), found.mean, 1e-9));
}

TEST(MBAR, DoesNotDependOnThreads) {
  const at::Tensor energies = normal_energies(5, 20000, 3);
  const int before = at::get_num_threads();
  std::vector<at::Tensor> results;
  for (int threads : {1, 3}) {
    at::set_num_threads(threads);
    results.push_back(mbar(energies, at::full({5}, 20000, at::kLong)).log_z);
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(results[0], results[1]));
}

TEST(MBAR, WrongArgumentsAreNamed) {
  const at::Tensor counts = at::full({2}, 2, at::kLong);
  EXPECT_THROWS(mbar(at::zeros({2, 3}), counts), c10::ValueError, "must add up to");
  EXPECT_THROWS(mbar(at::zeros({4}), counts), c10::ValueError, "energies must have shape (K, N)");
  at::Tensor far = at::zeros({2, 4});
  far[0].slice(0, 2) += 900;
  far[1].slice(0, 0, 2) += 900;
  EXPECT_THROWS(mbar(far, counts), c10::ValueError, "groups that hardly overlap");
}

}  // namespace
}  // namespace torch_ebm::mbar_test
