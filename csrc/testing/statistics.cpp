#include "csrc/testing/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"

namespace torch_ebm::testing {

namespace {

constexpr const char* kChiSquare = "chi_square_check";
constexpr const char* kMean = "mean_check";
constexpr const char* kTransitions = "check_transitions";
constexpr const char* kDetailedBalance = "check_detailed_balance";

constexpr double kMinExpected = 10;

/// P(|Z| > z) for the worst of n; a z that is NaN counts as infinite.
double two_sided(double z, int64_t n) {
  return std::isnan(z) ? 0 : std::min(1.0, std::erfc(z / std::sqrt(2.0)) * static_cast<double>(n));
}

/// n log_p, 0 for n = 0 whatever p.
double power(double n, double log_p) { return n == 0 ? 0 : n * log_p; }

/// Twice the smaller tail of a binomial distribution, including k.
double binomial_two_sided(double k, double n, double probability) {
  const double log_p = std::log(probability), log_q = std::log1p(-probability);
  double lower = 0, upper = 0;
  detail::Progress progress(kDetailedBalance, static_cast<int64_t>(n));
  for (double x = 0; x <= n; ++x) {
    const double mass = std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) +
                                 power(x, log_p) + power(n - x, log_q));
    if (x <= k) lower += mass;
    if (x >= k) upper += mass;
    progress.step(static_cast<int64_t>(x));
  }
  return 2 * std::min(lower, upper);
}

/// The worst of |z| and where it is.
Check worst_z(const std::string& what, const at::Tensor& z) {
  const int64_t worst = z.nan_to_num(INFINITY).argmax().item<int64_t>();
  const double value = z[worst].item<double>();
  return {what, two_sided(value, z.numel()), fmt::format("|z| = {:.2f} in {}", value, worst)};
}

/// Counts and probabilities are real, finite and not negative.
at::Tensor checked_measure(const char* op, const char* name, const at::Tensor& x) {
  const at::Tensor values = real_numbers(op, name, x);
  const at::Tensor wrong = values.isfinite().logical_and(values >= 0).logical_not();
  TORCH_CHECK_VALUE(!wrong.any().item<bool>(), op, ": ", name,
                    " must be finite and not negative, got ",
                    values.masked_select(wrong)[0].item<double>());
  return values;
}

}  // namespace

at::Tensor scalar(double value) {
  return at::full({}, value, at::TensorOptions().dtype(at::kDouble));
}

at::Tensor real_numbers(const char* op, const char* name, const at::Tensor& x) {
  detail::check_not_meta(op, name, x);
  const at::ScalarType dtype = x.scalar_type();
  TORCH_CHECK_TYPE(at::isFloatingType(dtype) || at::isIntegralType(dtype, /*includeBool=*/true), op,
                   ": ", name, " must hold real numbers, got ", dtype);
  return x.detach().to(at::kCPU, at::kDouble);
}

Check together(const std::vector<Check>& checks, const std::string& what) {
  const Check& worst = *std::min_element(
      checks.begin(), checks.end(),
      [](const Check& one, const Check& other) { return one.p_value < other.p_value; });
  return {what, std::min(1.0, worst.p_value * static_cast<double>(checks.size())),
          worst.what + ": " + worst.detail};
}

Check chi_square_check(const at::Tensor& counts, const at::Tensor& probabilities,
                       const std::string& what) {
  at::Tensor observed = checked_measure(kChiSquare, "counts", counts).flatten();
  at::Tensor p = checked_measure(kChiSquare, "probabilities", probabilities).flatten();
  TORCH_CHECK_VALUE(observed.numel() == p.numel(), kChiSquare, ": counts must have shape (K,) = (",
                    p.numel(), ",), got ", detail::describe_shape(counts.sizes()));
  const at::Tensor sum = p.sum();
  TORCH_CHECK_VALUE(sum.item<double>() > 0, kChiSquare,
                    ": probabilities must have a positive sum, got 0");
  p = p / sum;
  const at::Tensor impossible = p.eq(0).logical_and(observed > 0).nonzero();
  if (impossible.size(0) > 0) {
    return {what, 0, fmt::format("state {} has probability 0", impossible[0][0].item<int64_t>())};
  }
  auto [expected, order] = (p * observed.sum()).sort();
  observed = observed.index_select(0, order);
  const int64_t n_pooled = std::max(1 + expected.cumsum(0).lt(kMinExpected).sum().item<int64_t>(),
                                    expected.lt(kMinExpected).sum().item<int64_t>());
  const auto pool = [&](const at::Tensor& x) {
    return at::cat({x.slice(0, 0, n_pooled).sum().view({1}), x.slice(0, n_pooled)});
  };
  expected = pool(expected);
  observed = pool(observed);
  TORCH_CHECK_VALUE(expected.numel() > 1, fmt::format("{}: {}: too few counts, {:.0f}", kChiSquare,
                                                      what, observed.sum().item<double>()));
  const at::Tensor terms = (observed - expected).square() / expected;
  const double statistic = terms.sum().item<double>();
  const auto degrees = static_cast<double>(expected.numel() - 1);
  const int64_t worst = terms.argmax().item<int64_t>();
  const std::string state = worst == 0 && n_pooled > 1
                                ? "of the rarest"
                                : std::to_string(order[worst + n_pooled - 1].item<int64_t>());
  return {what, at::special_gammaincc(scalar(degrees / 2), scalar(statistic / 2)).item<double>(),
          fmt::format("chi-square {:.1f} with {} degrees of freedom; worst is state {}: {:.0f} for "
                      "{:.1f}",
                      statistic, degrees, state, std::trunc(observed[worst].item<double>()),
                      expected[worst].item<double>())};
}

Check mean_check(const at::Tensor& samples, double mean, const std::string& what) {
  return mean_check(samples, scalar(mean), what);
}

Check mean_check(const at::Tensor& samples, const at::Tensor& mean, const std::string& what) {
  detail::check_chains(kMean, "samples", samples);
  const at::Tensor x = real_numbers(kMean, "samples", samples).reshape({samples.size(0), -1});
  const at::Tensor expected = real_numbers(kMean, "mean", mean).flatten();
  TORCH_CHECK_VALUE(expected.numel() == 1 || expected.numel() == x.size(1), kMean,
                    ": mean must be one number or one for every column, ", x.size(1), ", got ",
                    expected.numel());
  const at::Tensor difference = (x.mean(0) - expected).abs();
  const at::Tensor error = x.std(0) / std::sqrt(static_cast<double>(x.size(0)));
  return worst_z(what, (difference / error).masked_fill(difference.eq(0), 0));
}

Check check_transitions(const at::Tensor& counts, const at::Tensor& transition_matrix) {
  const at::Tensor observed = checked_measure(kTransitions, "counts", counts);
  const at::Tensor exact = checked_measure(kTransitions, "transition_matrix", transition_matrix);
  TORCH_CHECK_VALUE(exact.dim() == 2 && exact.sizes() == observed.sizes(), kTransitions,
                    ": transition_matrix must have the shape of counts, (S, S), got ",
                    detail::describe_shape(exact.sizes()), " and ",
                    detail::describe_shape(observed.sizes()));
  std::vector<Check> checks;
  for (int64_t i = 0; i < exact.size(0); ++i) {
    const at::Tensor impossible = exact[i].eq(0);
    const bool is_certain = impossible.logical_not().sum().item<int64_t>() <= 1 &&
                            observed[i].masked_select(impossible).sum().item<double>() == 0;
    if (is_certain) continue;
    checks.push_back(chi_square_check(observed[i], exact[i], fmt::format("from state {}", i)));
  }
  TORCH_CHECK_VALUE(!checks.empty(), kTransitions,
                    ": transition_matrix must have a row with two possible transitions");
  return together(checks, "transition matrix");
}

Check check_detailed_balance(const at::Tensor& counts, const at::Tensor& law) {
  constexpr double kMostMoves = 1e8;  // the sum over them takes seconds
  const at::Tensor moves = checked_measure(kDetailedBalance, "counts", counts);
  const at::Tensor p = checked_measure(kDetailedBalance, "law", law);
  TORCH_CHECK_VALUE(moves.dim() == 2 && moves.size(0) == moves.size(1) && moves.size(0) > 1,
                    kDetailedBalance,
                    ": counts must have shape (S, S), with two states or more, got ",
                    detail::describe_shape(moves.sizes()));
  detail::check_shape(kDetailedBalance, "law", p, {moves.size(0)}, "(S,)");
  // With as many chains from every state, a share p_j / (p_i + p_j) of the moves between i and j go from i to j.
  const at::Tensor pairs = at::triu_indices(moves.size(0), moves.size(1), 1);
  const at::Tensor forward = moves.index({pairs[0], pairs[1]});
  const at::Tensor total = forward + moves.index({pairs[1], pairs[0]});
  const at::Tensor p_i = p.index_select(0, pairs[0]), p_j = p.index_select(0, pairs[1]);
  const at::Tensor share = (p_j / (p_i + p_j)).nan_to_num(0.5);
  const at::Tensor spread = (1 + total * share * (1 - share)).sqrt();
  const int64_t worst = ((forward - total * share) / spread).abs().argmax().item<int64_t>();
  const double k = std::trunc(forward[worst].item<double>());
  const double n = std::trunc(total[worst].item<double>());
  TORCH_CHECK_VALUE(n <= kMostMoves, kDetailedBalance,
                    ": counts must be at most 10^8 for a pair of states, got ", n);
  const double tail = binomial_two_sided(k, n, share[worst].item<double>());
  return {"detailed balance", std::min(1.0, tail * static_cast<double>(total.numel())),
          fmt::format("{:.0f} of {:.0f} moves between states {} and {} are of the first kind, for "
                      "{:.1f}",
                      k, n, pairs[0][worst].item<int64_t>(), pairs[1][worst].item<int64_t>(),
                      (total[worst] * share[worst]).item<double>())};
}

}  // namespace torch_ebm::testing
