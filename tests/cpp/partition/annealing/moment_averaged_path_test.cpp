#include "torch_ebm/partition/annealing/moment_averaged_path.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/partition/annealing/ais.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::moment_averaged_path_test {
namespace {

using testing::all_states;
using testing::mean_is;
using testing::seeded;

RBM make_rbm(at::ScalarType dtype = at::kDouble) {
  RBM rbm(5, 4);
  rbm->to(dtype);
  const at::NoGradGuard no_grad;
  const at::Generator generator = seeded(1);
  for (at::Tensor& p : rbm->parameters()) {
    p.copy_(0.8 * at::randn(p.sizes(), generator, at::kDouble));
  }
  return rbm;
}

const at::Tensor& base_bias() {
  static const at::Tensor bias = at::linspace(-1, 1, 5, at::kDouble);
  return bias;
}

/// E[v], E[h] and E[v h'] one after the other, exactly.
at::Tensor moments_at(const RBMPath& path, double beta) {
  const at::Tensor v = all_states(5);
  const auto [w, b, c] = path->rbm_at(at::full({}, beta, at::kDouble));
  const at::Tensor p = at::softmax(-rbm_free_energy(v, w, b, c), 0);
  const at::Tensor h = at::sigmoid(at::addmm(c, v, w));
  return at::cat(
      {at::matmul(p, v), at::matmul(p, h), at::matmul(v.t(), p.unsqueeze(1) * h).flatten()});
}

double largest_error(const RBMPath& path) {
  const at::Tensor first = moments_at(path, 0), last = moments_at(path, 1);
  const int64_t n = path->betas.size(0) - 1;
  double error = 0;
  for (int64_t r = 1; r < n; ++r) {
    const at::Tensor target =
        at::lerp(first, last, static_cast<double>(r) / static_cast<double>(n));
    const at::Tensor found = moments_at(path, path->betas[r].item<double>());
    error = std::max(error, (found - target).abs().max().item<double>());
  }
  return error;
}

TEST(MomentAveragedPath, AveragesMoments) {
  const RBM rbm = make_rbm();
  const MomentAveragingOptions options{
      .n_knots = 5, .n_chains = 1000, .n_updates = 1000, .generator = seeded(2)};
  const RBMPath path = moment_averaged_path(rbm, base_bias(), options);
  EXPECT_TRUE(at::equal(path->weight[-1], rbm->weight.detach()));
  EXPECT_TRUE(at::equal(path->visible_bias[0], base_bias()));
  EXPECT_TRUE(at::equal(path->hidden_bias[0], at::zeros({4}, at::kDouble)));
  EXPECT_LT(largest_error(path), 0.01);
  const at::Tensor pieces = path->betas.diff();
  EXPECT_GT(pieces.min().item<double>(), 0.1);
  EXPECT_GT((pieces.max() / pieces.min()).item<double>(), 1.01);  // not evenly spaced
}

TEST(MomentAveragedPath, TakesMomentsFromSamples) {
  // Of states that are all ones, whatever the model is.
  const RBM rbm = make_rbm();
  const RBMPath path = moment_averaged_path(
      rbm, base_bias(),
      {.n_knots = 3, .x = at::ones({1, 5}, at::kDouble), .n_chains = 1000, .generator = seeded(3)});
  const at::Tensor expected = 0.5 + 0.5 * at::sigmoid(base_bias());
  EXPECT_LT((moments_at(path, path->betas[1].item<double>()).slice(0, 0, 5) - expected)
                .abs()
                .max()
                .item<double>(),
            0.02);
}

TEST(MomentAveragedPath, BadKnotsLeaveTheEstimateUnbiased) {
  const RBM rbm = make_rbm();
  const RBMPath path = moment_averaged_path(rbm, base_bias(),
                                            {.n_knots = 4,
                                             .n_model_steps = 2,
                                             .n_chains = 2,
                                             .n_updates = 3,
                                             .learning_rate = 1,
                                             .generator = seeded(4)});
  EXPECT_GT(largest_error(path), 0.05);
  const LogZEstimate estimate =
      ais(Energy(path), path->base(), bind_sampler(gibbs),
          {.n_chains = 20000, .betas = at::linspace(0, 1, 7), .generator = seeded(5)});
  const double base = at::log1p(at::exp(base_bias())).sum().item<double>() + 4 * std::log(2.0);
  const double exact = rbm->log_z().item<double>();
  EXPECT_TRUE(mean_is(at::exp(estimate.log_weights + base - exact), 1));
}

TEST(MomentAveragedPath, IsTheSameWithTheSameSeedAndKeepsItsDtype) {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const RBM rbm = make_rbm(dtype);
    const auto run = [&](uint64_t seed) {
      return moment_averaged_path(rbm, base_bias().to(dtype),
                                  {.n_knots = 3, .n_updates = 5, .generator = seeded(seed)});
    };
    EXPECT_EQ(run(6)->weight.scalar_type(), dtype);
    EXPECT_TRUE(at::equal(run(6)->weight, run(6)->weight));
    EXPECT_FALSE(at::equal(run(6)->weight, run(7)->weight));
  }
}

TEST(MomentAveragedPath, WrongArgumentsAreNamed) {
  const RBM rbm = make_rbm();
  const auto run = [&](const MomentAveragingOptions& options) {
    return moment_averaged_path(rbm, base_bias(), options);
  };
  EXPECT_THROWS(run({.n_knots = 1}), c10::ValueError, "n_knots must be at least 2, got 1");
  EXPECT_THROWS(run({.n_model_steps = 1}), c10::ValueError, "n_model_steps must be at least 2");
  EXPECT_THROWS(run({.n_chains = 0}), c10::ValueError, "n_chains must be at least 1");
  EXPECT_THROWS(run({.n_updates = 0}), c10::ValueError, "n_updates must be at least 1");
  EXPECT_THROWS(run({.learning_rate = 0}), c10::ValueError, "learning_rate must be positive");
  EXPECT_THROWS(run({.x = at::zeros({3, 4}, at::kDouble)}), c10::ValueError, "x must have shape");
  EXPECT_THROWS(run({.x = at::full({3, 5}, 0.5, at::kDouble)}), c10::ValueError, "x must");
  EXPECT_THROWS(moment_averaged_path(rbm, at::zeros({4}, at::kDouble)), c10::ValueError,
                "base_visible_bias must have shape (V,) = (5,)");
  EXPECT_THROWS(moment_averaged_path(rbm, base_bias() + NAN), c10::ValueError,
                "base_visible_bias must be finite");
}

}  // namespace
}  // namespace torch_ebm::moment_averaged_path_test
