#include "torch_ebm/criteria/denoising_score_matching.h"

#include "tests/cpp/testing.h"

namespace torch_ebm::denoising_score_matching_test {
namespace {

using testing::close;
using testing::seeded;

/// E(x) = a |x|^2 / 2, which remembers where it was asked.
struct Round {
  at::Tensor a = at::full({}, 0.7, at::kDouble).requires_grad_();
  std::shared_ptr<at::Tensor> asked = std::make_shared<at::Tensor>();
  Energy energy{[a = a, asked = asked](const at::Tensor& x) {
    *asked = x.detach();
    return a * x.square().flatten(1).sum(1) / 2;
  }};
};

at::Tensor data() { return at::arange(1, 13, at::kDouble).view({2, 3, 2}) / 8; }

TEST(DenoisingScoreMatching, HasTheValueAndTheGradientOfTheFormula) {
  const Round model;
  const at::Tensor x = data();
  const at::Tensor terms = denoising_score_matching(
      model.energy, x, {.reduction = "none", .generator = seeded(1)}, {.sigma = 0.5});
  const at::Tensor moved = *model.asked;
  const at::Tensor a = model.a.detach();
  const at::Tensor error = (moved - x) / 0.25 - a * moved;
  EXPECT_TRUE(close(terms.detach(), error.square().flatten(1).sum(1) / 2));
  terms.sum().backward();
  EXPECT_TRUE(close(model.a.grad(), (-moved * error).sum()));
}

TEST(DenoisingScoreMatching, TakesLevelsAndOneForEachExample) {
  const Round model;
  const auto terms = [&](NoiseScale sigma, const char* weighting) {
    return denoising_score_matching(model.energy, data(),
                                    {.reduction = "none", .generator = seeded(2)},
                                    {.sigma = std::move(sigma), .weighting = weighting})
        .detach();
  };
  const at::Tensor pair = at::tensor({0.5, 2.0}, at::kDouble);
  const at::Tensor one = terms(0.5, "none"), other = terms(2.0, "none");
  const at::Tensor each = at::stack({one[0], other[1]});
  EXPECT_TRUE(close(terms(pair, "none"), each));
  EXPECT_TRUE(close(terms(pair, "sigma_squared"), pair.square() * each));
  const at::Tensor drawn = terms(std::vector<double>{0.5, 2.0}, "none");
  for (int64_t n : {0, 1}) {
    EXPECT_TRUE(close(drawn[n], one[n]) || close(drawn[n], other[n]));
  }
}

TEST(DenoisingScoreMatching, RefusesSigmasThatAreNotPositive) {
  const Round model;
  const auto with = [&](NoiseScale sigma, std::optional<std::string> weighting = std::nullopt) {
    return denoising_score_matching(model.energy, data(), {}, {std::move(sigma), weighting});
  };
  EXPECT_THROWS(with(0.0), c10::ValueError, "sigma must be > 0 and finite, got 0");
  EXPECT_THROWS(with(std::vector<double>{}), c10::ValueError, "sigma must not be an empty list");
  EXPECT_THROWS(with(at::ones({3})), c10::ValueError, "sigma must be one number");
  EXPECT_THROWS(with(-at::ones({2})), c10::ValueError, "sigma must be > 0 and finite, got -1");
  EXPECT_THROWS(with(0.5, "lambda"), c10::ValueError, "weighting must be");
}

}  // namespace
}  // namespace torch_ebm::denoising_score_matching_test
