#include "torch_ebm/criteria/score_matching.h"

#include "tests/cpp/testing.h"

namespace torch_ebm::score_matching_test {
namespace {

using testing::close;

/// E(x) = sum_i a x_i^4 / 4, with parameter a: s_i = -a x_i^3, ds_i/dx_i = -3 a x_i^2.
struct Quartic {
  at::Tensor a = at::full({}, 1.5, at::kDouble).requires_grad_();
  Energy energy{[a = a](const at::Tensor& x) { return a * x.pow(4).flatten(1).sum(1) / 4; }};
};

at::Tensor data() { return at::arange(1, 13, at::kDouble).view({2, 3, 2}) / 8; }

TEST(ScoreMatching, HasTheValueAndTheGradientOfTheFormula) {
  const Quartic model;
  const at::Tensor x = data();
  for (const auto& chunk_size : {std::optional<int64_t>(), std::optional<int64_t>(4)}) {
    const at::Tensor terms =
        score_matching(model.energy, x, {.reduction = "none"}, {.chunk_size = chunk_size});
    const at::Tensor a = model.a.detach();
    const at::Tensor flat = x.flatten(1);
    EXPECT_TRUE(close(terms.detach(), (a * a * flat.pow(6) / 2 - 3 * a * flat.square()).sum(1)));
    model.a.mutable_grad() = at::Tensor();
    terms.sum().backward();
    EXPECT_TRUE(close(model.a.grad(), (a * flat.pow(6) - 3 * flat.square()).sum()));
  }
}

TEST(ScoreMatching, WeighsByTheDomain) {
  const Quartic model;
  const at::Tensor x = data().flatten(1);
  const at::Tensor s = -1.5 * x.pow(3), slope = -4.5 * x.square();
  const auto expected = [&](const at::Tensor& h, const at::Tensor& dh) {
    return (h * s.square() / 2 + h * slope + dh * s).sum(1).mean();
  };
  const at::Tensor half_line =
      score_matching(model.energy, data(), {}, {.domain = "nonnegative"}).detach();
  EXPECT_TRUE(close(half_line, expected(x.square(), 2 * x)));
  const at::Tensor box =
      score_matching(model.energy, data(), {}, {.domain = "box", .low = 0, .high = 2}).detach();
  EXPECT_TRUE(close(box, expected(x * (2 - x), 2 - 2 * x)));
}

TEST(ScoreMatching, WorksWithoutGradients) {
  const Quartic model;
  const at::Tensor expected = score_matching(model.energy, data()).detach();
  const at::NoGradGuard no_grad;
  const at::Tensor value = score_matching(model.energy, data());
  EXPECT_FALSE(value.requires_grad());
  EXPECT_TRUE(at::equal(value, expected));
}

TEST(ScoreMatching, RefusesWhatIsNotInTheDomain) {
  const Quartic model;
  EXPECT_THROWS(score_matching(model.energy, -data(), {}, {.domain = "nonnegative"}),
                c10::ValueError, "score_matching: x must be nonnegative");
  EXPECT_THROWS(score_matching(model.energy, data(), {}, {.domain = "circle"}), c10::ValueError,
                "score_matching: domain must be");
  const Energy constant([](const at::Tensor& x) { return at::ones({x.size(0)}, x.options()); });
  EXPECT_THROWS(score_matching(constant, data()), c10::ValueError, "depend differentiably on x");
}

}  // namespace
}  // namespace torch_ebm::score_matching_test
