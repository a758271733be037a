#include "torch_ebm/criteria/sliced_score_matching.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"
#include "csrc/criteria/chunked_sum.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/draws.h"
#include "csrc/criteria/score_graph.h"

namespace torch_ebm {

namespace {

constexpr const char* kSlicedScoreMatching = "sliced_score_matching";

void check_slices(const SlicedScoreMatchingOptions& options) {
  TORCH_CHECK_VALUE(options.projections == "rademacher" || options.projections == "gaussian",
                    kSlicedScoreMatching,
                    ": projections must be \"rademacher\" or \"gaussian\", got \"",
                    options.projections, "\"");
  detail::check_at_least(kSlicedScoreMatching, "n_projections", options.n_projections, 1);
  TORCH_CHECK_VALUE(options.n_projections <= UINT32_MAX, kSlicedScoreMatching,
                    ": n_projections must be below 2^32, got ", options.n_projections);
  TORCH_CHECK_VALUE(
      options.method == "autograd" || options.method == "finite_difference", kSlicedScoreMatching,
      ": method must be \"autograd\" or \"finite_difference\", got \"", options.method, "\"");
  TORCH_CHECK_VALUE(options.eps > 0 && std::isfinite(options.eps), kSlicedScoreMatching,
                    ": eps must be > 0 and finite, got ", options.eps);
}

void check_vectors(const at::Tensor& vectors, const at::Tensor& x) {
  detail::check_same_type(kSlicedScoreMatching, "projections", vectors, "x", x);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.insert(shape.begin(), -1);
  detail::check_shape(kSlicedScoreMatching, "projections", vectors, shape, "(M, N, ...)");
  TORCH_CHECK_VALUE(vectors.size(0) >= 1, kSlicedScoreMatching,
                    ": projections must hold at least one for each example, got shape ",
                    detail::describe_shape(vectors.sizes()));
  detail::check_finite(kSlicedScoreMatching, "projections", vectors);
}

int64_t n_projections(const SlicedScoreMatchingOptions& options) {
  return detail::given(options.vectors) ? options.vectors->size(0) : options.n_projections;
}

/// The terms of the projections [begin, end), (N,).
class ProjectionTerms {
 public:
  ProjectionTerms(const Energy& energy, const detail::Criterion& examples,
                  const SlicedScoreMatchingOptions& options)
      : energy_(energy),
        x_(examples.x.clone()),
        draws_(examples.generator, x_),
        options_(options) {}

  at::Tensor by_autograd(int64_t begin, int64_t end) const {
    return detail::with_gradients([&](bool differentiable) {
      const detail::ScoreGraph graph(energy_, x_, /*create_graph=*/true);
      const at::Tensor s = graph.score();
      at::Tensor total = options_.variance_reduced
                             ? half_square(s) * static_cast<double>(end - begin)
                             : at::zeros({}, s.options());
      detail::Progress progress(kSlicedScoreMatching, options_.n_projections);
      for (int64_t m = begin; m < end; ++m) {
        progress.step(m);
        const at::Tensor v = projection(m).reshape({x_.size(0), -1});
        const at::Tensor curvature =
            (graph.jacobian_times(v, differentiable).squeeze(0) * v).sum(1);
        if (!*curved_) *curved_ = detail::may_be_curved(curvature);
        total = total + curvature;
        if (!options_.variance_reduced) total = total + (s * v).sum(1).square() / 2;
      }
      return total;
    });
  }

  /// Without |s|^2 / 2, which takes a derivative. `energies`: at x, (N,).
  at::Tensor by_finite_differences(const at::Tensor& energies, int64_t begin, int64_t end) const {
    std::vector<at::Tensor> steps;
    detail::Progress progress(kSlicedScoreMatching, options_.n_projections);
    for (int64_t m = begin; m < end; ++m) {
      progress.step(m);
      steps.push_back(options_.eps * projection(m));
    }
    const at::Tensor step = at::stack(steps);
    const at::Tensor moved = at::stack({x_ + step, x_ - step}).flatten(0, 2);
    const at::Tensor sides = energy_.value(moved).view({2, end - begin, x_.size(0)});
    const at::Tensor ahead = sides[0] - energies, behind = sides[1] - energies;
    const at::Tensor curvature = (ahead + behind) / -(options_.eps * options_.eps);
    if (options_.variance_reduced) return curvature.sum(0);
    const at::Tensor slope = (behind - ahead) / (2 * options_.eps);
    return (curvature + slope.square() / 2).sum(0);
  }

  /// |s|^2 / 2, (N,).
  at::Tensor quadratic() const {
    return detail::with_gradients([&](bool differentiable) {
      return half_square(detail::ScoreGraph(energy_, x_, differentiable).score());
    });
  }

  at::Tensor energies() const { return energy_.value(x_).clone(); }  // it may be reused

  /// Whether any second derivative was not 0.
  bool curved() const { return *curved_; }

 private:
  static at::Tensor half_square(const at::Tensor& s) { return s.square().sum(1) / 2; }

  at::Tensor projection(int64_t m) const {
    if (detail::given(options_.vectors)) return options_.vectors->detach()[m];
    if (options_.projections == "gaussian") return draws_.normal(x_, detail::kDirection, m);
    return draws_.uniform(x_, detail::kDirection, m).lt(0.5).to(x_.scalar_type()).mul_(2).sub_(1);
  }

  Energy energy_;
  at::Tensor x_;
  detail::Draws draws_;
  SlicedScoreMatchingOptions options_;
  std::shared_ptr<bool> curved_ = std::make_shared<bool>(false);
};

at::Tensor mean_over_projections(const ProjectionTerms& terms, const detail::Chunks& chunks,
                                 const SlicedScoreMatchingOptions& options) {
  const int64_t n = n_projections(options);
  const auto m = static_cast<double>(n);
  if (options.method == "autograd") {
    const auto by_autograd = [terms](int64_t begin, int64_t end) {
      return terms.by_autograd(begin, end);
    };
    const at::Tensor sum = detail::chunked_sum(kSlicedScoreMatching, n, chunks, by_autograd);
    if (!terms.curved()) detail::warn_of_no_curvature(kSlicedScoreMatching);
    return sum / m;
  }
  const auto by_differences = [terms, energies = terms.energies()](int64_t begin, int64_t end) {
    return terms.by_finite_differences(energies, begin, end);
  };
  const at::Tensor sum = detail::chunked_sum(kSlicedScoreMatching, n, chunks, by_differences);
  return options.variance_reduced ? sum / m + terms.quadratic() : sum / m;
}

at::Tensor sliced_score_matching_op(const c10::IValue& energy, const at::Tensor& x,
                                    c10::string_view projections, int64_t n_projections,
                                    const std::optional<at::Tensor>& vectors, bool variance_reduced,
                                    c10::string_view method, double eps,
                                    std::optional<int64_t> chunk_size,
                                    const std::optional<at::Tensor>& weights,
                                    c10::string_view reduction,
                                    std::optional<at::Generator> generator) {
  return sliced_score_matching(Energy::from_ivalue(kSlicedScoreMatching, energy), x,
                               {weights, std::string(reduction), std::move(generator)},
                               {std::string(projections), n_projections, variance_reduced,
                                std::string(method), eps, chunk_size, vectors});
}

}  // namespace

at::Tensor sliced_score_matching(const Energy& energy, const at::Tensor& x,
                                 const CriterionOptions& criterion,
                                 const SlicedScoreMatchingOptions& options) {
  const detail::Criterion examples(kSlicedScoreMatching, x, criterion);
  check_slices(options);
  if (detail::given(options.vectors)) check_vectors(*options.vectors, examples.x);
  TORCH_CHECK_TYPE(
      options.method == "autograd" || examples.x.element_size() >= 4, kSlicedScoreMatching,
      ": x must be in float or double for finite differences, got ", examples.x.scalar_type());
  const detail::Chunks chunks = detail::chunks_of(kSlicedScoreMatching, options.chunk_size,
                                                  examples.n_examples(), examples.x.numel());
  return examples.reduce(mean_over_projections({energy, examples, options}, chunks, options));
}

TORCH_EBM_CRITERION("sliced_score_matching", &sliced_score_matching_op)

}  // namespace torch_ebm
