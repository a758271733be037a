#include "torch_ebm/partition/annealing/rbm_path.h"

#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/annealing/ais.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::rbm_path_test {
namespace {

using testing::all_states;
using testing::close;
using testing::counts_fit;
using testing::draw_states;
using testing::mean_is;
using testing::seeded;
using testing::state_counts;

at::Tensor number(double value) { return at::full({}, value, at::kDouble); }

/// Three knots of 4 visible and 3 hidden units.
RBMPath make_path(at::ScalarType dtype = at::kDouble) {
  const at::Generator generator = seeded(1);
  const auto normal = [&](at::IntArrayRef size) {
    return at::randn(size, generator, at::kDouble).to(dtype);
  };
  at::Tensor weight = normal({3, 4, 3});
  weight[0].zero_();
  return RBMPath(weight, normal({3, 4}), normal({3, 3}), at::tensor({0.0, 0.25, 1.0}, at::kDouble));
}

at::Tensor law_at(const RBMPath& path, double beta) {
  return at::softmax(-*path->tempered(all_states(4), number(beta)), 0);
}

TEST(RBMPath, IsLinearBetweenKnotsAndPassesThroughThem) {
  const RBMPath path = make_path();
  for (int64_t r = 0; r < 3; ++r) {
    const auto [w, b, c] = path->rbm_at(path->betas[r]);
    EXPECT_TRUE(at::equal(w, path->weight[r]));
    EXPECT_TRUE(at::equal(b, path->visible_bias[r]));
    EXPECT_TRUE(at::equal(c, path->hidden_bias[r]));
  }
  const auto [w, b, c] = path->rbm_at(number(0.4));  // a fifth of the way from 0.25 to 1
  EXPECT_TRUE(close(w, 0.8 * path->weight[1] + 0.2 * path->weight[2]));
  const at::Tensor v = all_states(4);
  EXPECT_TRUE(close(*path->tempered(v, number(0.4)), rbm_free_energy(v, w, b, c)));
  EXPECT_TRUE(close(path->forward(v), *path->tempered(v, number(1))));
}

TEST(RBMPath, TwoKnotsAreThePathOfRBMAIS) {
  RBM rbm(4, 3);
  rbm->to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (at::Tensor& p : rbm->parameters()) p.normal_(0, 1, seeded(2));
  const at::Tensor base = at::linspace(-1, 1, 4, at::kDouble);
  const RBMPath path(at::stack({at::zeros_like(rbm->weight), rbm->weight}),
                     at::stack({base, rbm->visible_bias}),
                     at::stack({at::zeros_like(rbm->hidden_bias), rbm->hidden_bias}));
  const at::Tensor v = all_states(4);
  const double t = 0.3;
  const at::Tensor inputs = at::matmul(v, rbm->weight) + rbm->hidden_bias;
  const at::Tensor log_density =
      at::matmul(v, (1 - t) * base + t * rbm->visible_bias) + at::log1p(at::exp(t * inputs)).sum(1);
  EXPECT_TRUE(close(*path->tempered(v, number(t)), -log_density));
}

TEST(RBMPath, GibbsLeavesTheLawInvariant) {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const RBMPath path = make_path(dtype);
    for (double beta : {0.0, 0.15, 0.6, 1.0}) {
      const at::Tensor law = law_at(make_path(), beta);
      const at::Tensor x = draw_states(all_states(4, dtype), law, 20000, seeded(3));
      const Samples samples =
          gibbs(Energy(path), x, {.n_steps = 2, .beta = number(beta), .generator = seeded(4)});
      EXPECT_TRUE(counts_fit(state_counts(samples.x), law));
    }
    const at::Tensor x =
        draw_states(all_states(4, dtype), law_at(make_path(), 1), 20000, seeded(5));
    EXPECT_TRUE(counts_fit(state_counts(gibbs(Energy(path), x, {.generator = seeded(6)}).x),
                           law_at(make_path(), 1)));
  }
}

TEST(RBMPath, BaseIsTheLawAtZero) {
  const RBMPath path = make_path();
  const NoiseDistribution base = path->base();
  EXPECT_TRUE(close(at::exp(base.log_prob(all_states(4))), law_at(path, 0)));
  EXPECT_TRUE(counts_fit(state_counts(base.sample(20000, seeded(7))), law_at(path, 0)));
}

TEST(RBMPath, WeightsAlongItAreUnbiased) {
  const RBMPath path = make_path();
  const double exact = at::logsumexp(-path->forward(all_states(4)), {0}).item<double>();
  const LogZEstimate estimate =
      ais(Energy(path), path->base(), bind_sampler(gibbs),
          {.n_chains = 20000, .betas = at::linspace(0, 1, 6, at::kDouble), .generator = seeded(8)});
  const double base = at::logsumexp(-*path->tempered(all_states(4), number(0)), {0}).item<double>();
  EXPECT_TRUE(mean_is(at::exp(estimate.log_weights + base - exact), 1));
}

TEST(RBMPath, IsSavedAndCloned) {
  const RBMPath path = make_path();
  std::stringstream stream;
  torch::save(path, stream);
  RBMPath loaded(at::zeros({3, 4, 3}, at::kDouble), at::zeros({3, 4}, at::kDouble),
                 at::zeros({3, 3}, at::kDouble));
  torch::load(loaded, stream);
  const auto copy = std::dynamic_pointer_cast<RBMPathImpl>(path->clone());
  for (const RBMPath& other : {loaded, RBMPath(copy)}) {
    EXPECT_TRUE(at::equal(*other->tempered(all_states(4), number(0.1)),
                          *path->tempered(all_states(4), number(0.1))));
  }
  EXPECT_FALSE(copy->weight.is_same(path->weight));
}

TEST(RBMPath, WrongArgumentsAreNamed) {
  const at::Tensor w = at::zeros({3, 4, 2}), b = at::zeros({3, 4}), c = at::zeros({3, 2});
  EXPECT_THROWS(RBMPath(w[0], b, c), c10::ValueError, "weight must have shape (R, V, H)");
  EXPECT_THROWS(RBMPath(w.slice(0, 0, 1), b, c), c10::ValueError, "at least 2 knots, got 1");
  EXPECT_THROWS(RBMPath(w, b[0], c), c10::ValueError, "visible_bias must have shape (R, V)");
  EXPECT_THROWS(RBMPath(w, b, b), c10::ValueError, "hidden_bias must have shape (R, H)");
  EXPECT_THROWS(RBMPath(w, b, c.to(at::kDouble)), c10::TypeError, "hidden_bias");
  EXPECT_THROWS(RBMPath(w + NAN, b, c), c10::ValueError, "weight must be finite");
  EXPECT_THROWS(RBMPath(w + 1, b, c), c10::ValueError, "weight of the first knot must be 0");
  EXPECT_THROWS(RBMPath(w, b, c, at::linspace(0, 1, 4)), c10::ValueError, "betas must have shape");
  EXPECT_THROWS(RBMPath(w, b, c, at::linspace(0, 2, 3)), c10::ValueError, "from 0 to 1");
  const RBMPath path(w, b, c);
  EXPECT_THROWS(path->tempered(b, at::ones({3})), c10::ValueError,
                "beta must be one number for all chains, shape (), got (3,)");
  EXPECT_THROWS(path->tempered(b, number(1.5)), c10::ValueError, "beta must lie in [0, 1]");
}

}  // namespace
}  // namespace torch_ebm::rbm_path_test
