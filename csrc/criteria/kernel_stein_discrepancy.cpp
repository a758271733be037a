#include "torch_ebm/criteria/kernel_stein_discrepancy.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/score_graph.h"

namespace torch_ebm {

namespace {

constexpr const char* kKernelSteinDiscrepancy = "kernel_stein_discrepancy";

void check_stein(const KernelSteinDiscrepancyOptions& options) {
  TORCH_CHECK_VALUE(options.statistic == "u" || options.statistic == "v", kKernelSteinDiscrepancy,
                    ": statistic must be \"u\" or \"v\", got \"", options.statistic, "\"");
  TORCH_CHECK_VALUE(options.kernel == "imq" || options.kernel == "rbf", kKernelSteinDiscrepancy,
                    ": kernel must be \"imq\" or \"rbf\", got \"", options.kernel, "\"");
  if (options.exponent) {
    TORCH_CHECK_VALUE(options.kernel == "imq", kKernelSteinDiscrepancy,
                      ": exponent must not be given for kernel \"rbf\"");
    TORCH_CHECK_VALUE(*options.exponent > -1 && *options.exponent < 0, kKernelSteinDiscrepancy,
                      ": exponent must be between -1 and 0, got ", *options.exponent);
  }
  if (options.bandwidth) {
    TORCH_CHECK_VALUE(*options.bandwidth > 0 && std::isfinite(*options.bandwidth),
                      kKernelSteinDiscrepancy, ": bandwidth must be > 0 and finite, got ",
                      *options.bandwidth);
  }
}

/// Products with matrices of N rows, some rows at a time. Between any two of its calls, and within them, the progress
/// handler may stop the work.
class Products {
 public:
  Products() : progress_(kKernelSteinDiscrepancy, kTotal) {}

  at::Tensor mm(const at::Tensor& a, const at::Tensor& b) {
    constexpr int64_t kWorkAtOnce = int64_t{1} << 28;
    const int64_t n = a.size(0);
    const int64_t at_once = std::max<int64_t>(1, kWorkAtOnce / (a.size(1) * b.size(1)));
    progress_.step(++done_);
    if (at_once >= n) return at::mm(a, b);
    std::vector<at::Tensor> parts;
    for (int64_t begin = 0; begin < n; begin += at_once) {
      parts.push_back(at::mm(a.slice(0, begin, std::min(begin + at_once, n)), b));
      progress_.step(done_);
    }
    return at::cat(parts);
  }

  void between() { progress_.step(done_); }

 private:
  static constexpr int64_t kTotal = 4;  // products in all
  detail::Progress progress_;
  int64_t done_ = 0;
};

/// Squared distances of the rows of x, which are centred: (N, N), 0 on the diagonal.
at::Tensor squared_distances(const at::Tensor& x, Products& by_rows) {
  const at::Tensor products = by_rows.mm(x, x.t());
  const at::Tensor squares = products.diagonal();
  return (squares.unsqueeze(0) + squares.unsqueeze(1) - 2 * products).clamp_min(0);
}

/// The square of the bandwidth: given, or that of the median distance.
double squared_bandwidth(const at::Tensor& squares, const std::optional<double>& bandwidth) {
  if (bandwidth) return *bandwidth * *bandwidth;
  const int64_t n = squares.size(0);
  TORCH_CHECK_VALUE(n >= 2, kKernelSteinDiscrepancy,
                    ": bandwidth must be given for a single example");
  std::vector<at::Tensor> pairs;
  for (int64_t i = 0; i + 1 < n; ++i) pairs.push_back(squares[i].slice(0, i + 1));
  const auto median = at::cat(pairs).median().item<double>();
  TORCH_CHECK_VALUE(median > 0, kKernelSteinDiscrepancy,
                    ": bandwidth must be given where half of the pairs of examples agree");
  return median;
}

/// A kernel k = f(|x - y|^2) of all pairs, without a graph: (N, N) each.
struct Kernel {
  at::Tensor value;  // f
  at::Tensor slope;  // -2 f', such that dk/dy = slope (x - y)
  at::Tensor trace;  // of d^2k/dxdy
};

/// Of `squares`, the squared distances of points in d dimensions.
Kernel kernel_of(const at::Tensor& squares, int64_t d, const KernelSteinDiscrepancyOptions& options,
                 Products& by_rows) {
  const double h2 = squared_bandwidth(squares, options.bandwidth);
  by_rows.between();
  at::Tensor f, first, second;
  if (options.kernel == "imq") {
    const double a = options.exponent.value_or(-0.5);
    const at::Tensor base = 1 + squares / h2;
    f = base.pow(a);
    by_rows.between();
    first = a / h2 * f / base;
    second = (a - 1) / h2 * first / base;
  } else {
    f = (squares / (-2 * h2)).exp();
    first = f / (-2 * h2);
    second = first / (-2 * h2);
  }
  by_rows.between();
  return {f, -2 * first, -2 * static_cast<double>(d) * first - 4 * squares * second};
}

/// sum_m w_m u(x_n, x_m) of each example n, (N,). x, s: (N, D); w: (N,). Every product with a matrix of the kernel
/// leaves a matrix (N, D): u(x, y) = k s(x).s(y) + slope (s(x) - s(y)).(x - y) + trace.
at::Tensor weighted_sums(const Kernel& kernel, const at::Tensor& x, const at::Tensor& s,
                         const at::Tensor& w, Products& by_rows) {
  const at::Tensor column = w.unsqueeze(1);
  const at::Tensor of_scores =
      (s * by_rows.mm(kernel.value, column * s) - x * by_rows.mm(kernel.slope, column * s)).sum(1);
  const at::Tensor away =
      x * at::mv(kernel.slope, w).unsqueeze(1) - by_rows.mm(kernel.slope, column * x);
  const at::Tensor across = at::mv(kernel.slope, w * (s * x).sum(1));
  return of_scores + (s * away).sum(1) + across + at::mv(kernel.trace, w);
}

at::Tensor mean_over_pairs(const Energy& energy, const detail::Criterion& examples,
                           const KernelSteinDiscrepancyOptions& options) {
  return detail::with_gradients([&](bool differentiable) {
    // In float64: distances are differences of products.
    at::Tensor x = examples.x.reshape({examples.n_examples(), -1}).to(at::kDouble);
    x = x - x.mean(0);
    Products by_rows;
    const Kernel kernel = kernel_of(squared_distances(x, by_rows), x.size(1), options, by_rows);
    const at::Tensor w = examples.weights() / examples.weights().sum();
    at::Tensor mass = at::ones({}, w.options());
    if (options.statistic == "u") {
      for (const at::Tensor& part : {kernel.value, kernel.trace}) part.fill_diagonal_(0);
      mass = (w * (1 - w)).sum();
    }
    const at::Tensor s = detail::ScoreGraph(energy, examples.x, differentiable).score();
    const at::Tensor sums = weighted_sums(kernel, x, s.to(at::kDouble), w, by_rows);
    return (sums / mass).to(examples.x.scalar_type());
  });
}

at::Tensor kernel_stein_discrepancy_op(const c10::IValue& energy, const at::Tensor& x,
                                       c10::string_view statistic, c10::string_view kernel,
                                       std::optional<double> exponent,
                                       std::optional<double> bandwidth,
                                       const std::optional<at::Tensor>& weights,
                                       c10::string_view reduction,
                                       std::optional<at::Generator> generator) {
  return kernel_stein_discrepancy(
      Energy::from_ivalue(kKernelSteinDiscrepancy, energy), x,
      {weights, std::string(reduction), std::move(generator)},
      {std::string(statistic), std::string(kernel), exponent, bandwidth});
}

}  // namespace

at::Tensor kernel_stein_discrepancy(const Energy& energy, const at::Tensor& x,
                                    const CriterionOptions& criterion,
                                    const KernelSteinDiscrepancyOptions& options) {
  const detail::Criterion examples(kKernelSteinDiscrepancy, x, criterion);
  check_stein(options);
  TORCH_CHECK_VALUE(options.statistic == "v" || examples.weights().gt(0).sum().item<int64_t>() >= 2,
                    kKernelSteinDiscrepancy,
                    ": x must hold at least 2 examples of weight > 0 for statistic \"u\"");
  return examples.reduce(mean_over_pairs(energy, examples, options));
}

TORCH_EBM_CRITERION("kernel_stein_discrepancy", &kernel_stein_discrepancy_op)

}  // namespace torch_ebm
