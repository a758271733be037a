#include "torch_ebm/criteria/sliced_score_matching.h"

#include "tests/cpp/testing.h"
#include "torch_ebm/criteria/score_matching.h"

namespace torch_ebm::sliced_score_matching_test {
namespace {

using testing::close;
using testing::seeded;

/// E(x) = a |x|^2 / 2: along any signs v the second derivative is -a D, so that nothing is random.
struct Round {
  at::Tensor a = at::full({}, 0.7, at::kDouble).requires_grad_();
  Energy energy{[a = a](const at::Tensor& x) { return a * x.square().flatten(1).sum(1) / 2; }};
};

at::Tensor data() { return at::arange(1, 13, at::kDouble).view({2, 3, 2}) / 8; }

TEST(SlicedScoreMatching, IsScoreMatchingWhereAllDirectionsAreAlike) {
  for (const char* method : {"autograd", "finite_difference"}) {
    const Round model;
    const at::Tensor expected = score_matching(model.energy, data());
    const at::Tensor value =
        sliced_score_matching(model.energy, data(), {.generator = seeded(1)},
                              {.n_projections = 3, .method = method, .chunk_size = 4});
    EXPECT_TRUE(close(value.detach(), expected.detach(), 1e-9));
    expected.backward();
    const at::Tensor gradient = model.a.grad().clone();
    model.a.mutable_grad() = at::Tensor();
    value.backward();
    EXPECT_TRUE(close(model.a.grad(), gradient, 1e-9));
  }
}

TEST(SlicedScoreMatching, TheGeneratorDecides) {
  const Round model;
  const SlicedScoreMatchingOptions options{.projections = "gaussian", .variance_reduced = false};
  const auto value = [&](uint64_t seed) {
    return sliced_score_matching(model.energy, data(), {.generator = seeded(seed)}, options);
  };
  EXPECT_TRUE(at::equal(value(2), value(2)));
  EXPECT_FALSE(at::equal(value(2), value(3)));
}

TEST(SlicedScoreMatching, RefusesOptionsOutOfRange) {
  const Round model;
  const auto with = [&](const SlicedScoreMatchingOptions& options) {
    return sliced_score_matching(model.energy, data(), {}, options);
  };
  EXPECT_THROWS(with({.projections = "sphere"}), c10::ValueError, "projections must be");
  EXPECT_THROWS(with({.n_projections = 0}), c10::ValueError, "n_projections must be at least 1");
  EXPECT_THROWS(with({.method = "jvp"}), c10::ValueError, "method must be");
  EXPECT_THROWS(with({.eps = 0}), c10::ValueError, "eps must be > 0");
}

}  // namespace
}  // namespace torch_ebm::sliced_score_matching_test
