#include "torch_ebm/criteria/score_matching.h"

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"
#include "csrc/criteria/chunked_sum.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/score_graph.h"

namespace torch_ebm {

namespace {

constexpr const char* kScoreMatching = "score_matching";

/// The weight h(x_i) and its slope h'(x_i), which broadcast to (N, D).
struct Weight {
  at::Tensor value;
  at::Tensor slope;
};

void check_inside(const at::Tensor& x, double low, double high, const std::string& where) {
  if (!detail::has_values(x)) return;
  const at::Tensor outside = x.lt(low).logical_or_(x.gt(high));
  if (!outside.any().item<bool>()) return;
  TORCH_CHECK_VALUE(false, kScoreMatching, ": x must be ", where, ", got ",
                    x.masked_select(outside)[0].item<double>());
}

Weight weight_of_box(const at::Tensor& x, const ScoreMatchingOptions& options) {
  TORCH_CHECK_VALUE(options.low && options.high && std::isfinite(*options.low) &&
                        std::isfinite(*options.high) && *options.low < *options.high,
                    kScoreMatching,
                    ": low and high must be finite, low < high, for domain \"box\"");
  const double low = *options.low, high = *options.high;
  check_inside(x, low, high, c10::str("between ", low, " and ", high, " for domain \"box\""));
  return {(x - low) * (high - x), low + high - 2 * x};
}

/// x: (N, D).
Weight weight_of(const at::Tensor& x, const ScoreMatchingOptions& options) {
  if (options.domain == "box") return weight_of_box(x, options);
  TORCH_CHECK_VALUE(!options.low && !options.high, kScoreMatching,
                    ": low and high must not be given for domain \"", options.domain, "\"");
  if (options.domain == "real") return {at::ones({}, x.options()), at::zeros({}, x.options())};
  TORCH_CHECK_VALUE(options.domain == "nonnegative", kScoreMatching,
                    ": domain must be \"real\", \"nonnegative\" or \"box\", got \"", options.domain,
                    "\"");
  check_inside(x, 0, INFINITY, "nonnegative for domain \"nonnegative\"");
  return {x.square(), 2 * x};
}

/// How many dimensions one pass computes, over as many copies of the examples. A pass over few rows
/// takes as long as one over even fewer (measured on networks of 64 and 256 units: 16 examples gain
/// a factor 2, 128 nothing).
int64_t dimensions_per_pass(int64_t n_examples, int64_t n_dimensions) {
  constexpr int64_t kRows = 128;
  return std::clamp<int64_t>(kRows / n_examples, 1, n_dimensions);
}

/// The terms of the dimensions [begin, end), (N,).
class DimensionTerms {
 public:
  DimensionTerms(const Energy& energy, const at::Tensor& x, const ScoreMatchingOptions& options)
      : energy_(energy) {
    const detail::InnerGradMode grad_mode;  // a graph cannot save what was made in inference mode
    x_ = x.clone();
    weight_ = weight_of(x_.reshape({x_.size(0), -1}), options);
  }

  at::Tensor operator()(int64_t begin, int64_t end) const {
    return detail::with_gradients([&](bool differentiable) {
      const int64_t copies = dimensions_per_pass(x_.size(0), end - begin);
      const detail::ScoreGraph graph(energy_, x_, /*create_graph=*/true, copies);
      const at::Tensor s = graph.score();
      const at::Tensor first_order = weight_.value * s.square() / 2 + weight_.slope * s;
      at::Tensor total = first_order.narrow(1, begin, end - begin).sum(1);
      detail::Progress progress(kScoreMatching, x_.numel() / x_.size(0));
      for (int64_t i = begin; i < end; i += copies) {
        progress.step(i);
        total = total + weighted_curvature(graph, i, copies, end, differentiable);
      }
      return total;
    });
  }

  /// Whether any second derivative was not 0.
  bool curved() const { return *curved_; }

 private:
  /// The sum of h(x_i) ds_i/dx_i over the dimensions i = first, ..., of which the k-th is that of the k-th copy.
  at::Tensor weighted_curvature(const detail::ScoreGraph& graph, int64_t first, int64_t copies,
                                int64_t end, bool differentiable) const {
    const at::Tensor s = graph.score();
    const at::Tensor units = at::arange(s.size(1), s.options().dtype(at::kLong));
    const at::Tensor wanted = at::arange(first, first + copies, units.options());
    const at::Tensor axes = units.eq(wanted.unsqueeze(1))
                                .logical_and_(units.lt(end))
                                .to(s.scalar_type())
                                .unsqueeze(1);  // (copies, 1, D), 0 beyond the end
    const at::Tensor diagonal = graph.jacobian_times(axes, differentiable) * axes;
    if (!*curved_) *curved_ = detail::may_be_curved(diagonal);
    return (weight_.value * diagonal).sum(at::IntArrayRef{0, 2});
  }

  Energy energy_;
  at::Tensor x_;
  Weight weight_;
  std::shared_ptr<bool> curved_ = std::make_shared<bool>(false);
};

at::Tensor score_matching_op(const c10::IValue& energy, const at::Tensor& x,
                             c10::string_view domain, std::optional<double> low,
                             std::optional<double> high, std::optional<int64_t> chunk_size,
                             const std::optional<at::Tensor>& weights, c10::string_view reduction,
                             std::optional<at::Generator> generator) {
  return score_matching(Energy::from_ivalue(kScoreMatching, energy), x,
                        {weights, std::string(reduction), std::move(generator)},
                        {std::string(domain), low, high, chunk_size});
}

}  // namespace

at::Tensor score_matching(const Energy& energy, const at::Tensor& x,
                          const CriterionOptions& criterion, const ScoreMatchingOptions& options) {
  const detail::Criterion examples(kScoreMatching, x, criterion);
  const int64_t n = examples.n_examples(), n_dimensions = examples.x.numel() / n;
  const DimensionTerms terms(energy, examples.x, options);
  const detail::Chunks chunks =
      detail::chunks_of(kScoreMatching, options.chunk_size, n, examples.x.numel());
  const at::Tensor sum = detail::chunked_sum(kScoreMatching, n_dimensions, chunks, terms);
  if (!terms.curved()) detail::warn_of_no_curvature(kScoreMatching);
  return examples.reduce(sum);
}

TORCH_EBM_CRITERION("score_matching", &score_matching_op)

}  // namespace torch_ebm
