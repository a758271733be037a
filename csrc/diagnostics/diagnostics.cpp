#include "torch_ebm/diagnostics/diagnostics.h"

#include <torch/library.h>

#include <cmath>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"

namespace torch_ebm {

namespace {

// Inside this file chains are (Q, n_chains, n_draws) in double, for Q quantities.

constexpr int64_t kMinDraws = 4;
constexpr int64_t kBatchNumbers = int64_t{1} << 20;  // bounds the memory for intermediate results

/// The smallest number >= n without prime factors above 5: FFTs are fast at such lengths.
int64_t fast_length(int64_t n) {
  for (;; ++n) {
    int64_t rest = n;
    for (int64_t prime : {2, 3, 5}) {
      while (rest % prime == 0) rest /= prime;
    }
    if (rest == 1) return n;
  }
}

at::Tensor split_chains(const at::Tensor& chains) {
  const int64_t n_draws = chains.size(2);
  const int64_t half = n_draws / 2;
  return at::cat({chains.narrow(2, 0, half), chains.narrow(2, n_draws - half, half)}, 1);
}

at::Tensor never_changes(const at::Tensor& chains) {
  return chains.amax({1, 2}).eq(chains.amin({1, 2}));
}

/// All values of each quantity, (Q, n) with n = n_chains n_draws.
struct Sorted {
  at::Tensor values;
  at::Tensor order;
};

Sorted sort_values(const at::Tensor& chains) {
  const auto [values, order] = chains.flatten(1).sort(1);
  return {values, order};
}

/// The quantile p, between the two nearest values: (Q, 1, 1).
at::Tensor sorted_quantile(const Sorted& sorted, double p) {
  const int64_t last = sorted.values.size(1) - 1;
  const double place = p * static_cast<double>(last);
  const int64_t below = static_cast<int64_t>(place);
  const at::Tensor low = sorted.values.select(1, below);
  const at::Tensor high = sorted.values.select(1, std::min(below + 1, last));
  return at::lerp(low, high, place - static_cast<double>(below)).view({-1, 1, 1});
}

/// |x - median|, the mean of the two values in the middle.
at::Tensor fold(const at::Tensor& chains, const Sorted& sorted) {
  const int64_t n = sorted.values.size(1);
  const at::Tensor sum = sorted.values.select(1, (n - 1) / 2) + sorted.values.select(1, n / 2);
  return (chains - (sum / 2).view({-1, 1, 1})).abs();
}

/// Every value replaced by the normal quantile of its rank; equal values share
/// their mean rank.
at::Tensor normal_scores(const at::Tensor& chains, const Sorted& sorted) {
  const auto& [values, order] = sorted;
  const int64_t n = values.size(1);
  const at::Tensor place = at::arange(n, order.options());
  const at::Tensor changes = values.narrow(1, 1, n - 1).ne(values.narrow(1, 0, n - 1));
  const at::Tensor edge = changes.new_ones({values.size(0), 1});
  // Where the run of equal values around each place begins and ends.
  const at::Tensor begin = at::where(at::cat({edge, changes}, 1), place, 0);
  const at::Tensor end = at::where(at::cat({changes, edge}, 1), place, n - 1);
  const at::Tensor first = std::get<0>(begin.cummax(1));
  const at::Tensor last = std::get<0>(end.flip(1).cummin(1)).flip(1);
  // The score of every possible mean rank, 1 + (first + last) / 2.
  const at::Tensor rank = at::arange(2 * n - 1, values.options()) / 2 + 1;
  const at::Tensor scores =
      at::special_ndtri((rank - 3.0 / 8) / (static_cast<double>(n) + 1.0 / 4));
  return at::empty_like(values).scatter_(1, order, scores.take(first + last)).view(chains.sizes());
}

/// R-hat of chains as they are.
at::Tensor plain_r_hat(const at::Tensor& chains) {
  const double n = static_cast<double>(chains.size(2));
  const auto [variance, mean] = at::var_mean(chains, at::IntArrayRef{2}, /*correction=*/1);
  const at::Tensor between = n * mean.var(1);
  return ((between / variance.mean(1) + n - 1) / n).sqrt();
}

at::Tensor rank_r_hat(const at::Tensor& chains) {
  if (chains.size(1) == 1) return at::full({chains.size(0)}, NAN, chains.options());
  const at::Tensor halves = split_chains(chains);
  const Sorted sorted = sort_values(halves);
  const at::Tensor folded = fold(halves, sorted);
  // fmax: values at equal distances from their median have no folded R-hat.
  return at::fmax(plain_r_hat(normal_scores(halves, sorted)),
                  plain_r_hat(normal_scores(folded, sort_values(folded))));
}

/// rho_t of all chains together (Vehtari et al. 2021, section 3.2), (Q, n_draws); the autocovariances by FFT.
at::Tensor correlations(const at::Tensor& chains) {
  const int64_t n = chains.size(2);
  const int64_t length = fast_length(2 * n);
  const at::Tensor mean = chains.mean(2, /*keepdim=*/true);
  const at::Tensor spectrum = at::fft_rfft(chains - mean, length, 2);
  const at::Tensor power = at::view_as_real(spectrum).square().mean(1).sum(-1);
  const at::Tensor covariance =
      at::fft_irfft(power, length, 1).narrow(1, 0, n) / static_cast<double>(n);
  const at::Tensor at_lag_0 = covariance.narrow(1, 0, 1);
  const at::Tensor within = at_lag_0 * (static_cast<double>(n) / static_cast<double>(n - 1));
  const at::Tensor total = chains.size(1) > 1 ? at_lag_0 + mean.var(1) : at_lag_0;
  at::Tensor rho = 1 - (within - covariance) / total;
  rho.select(1, 0).copy_(at::where(rho.select(1, 1).isnan(), NAN, 1.0));
  return rho;
}

/// The effective number of draws of chains already split: their number of draws divided by the
/// autocorrelation time. Correlations are summed in pairs of lags 2 k and 2 k + 1, which are
/// positive and fall for a reversible chain (Geyer 1992, section 3.3): up to the first pair that is
/// not positive, each at most the one before. Of that pair, or of the last that may count, the even
/// lag still enters once.
at::Tensor effective_size(const at::Tensor& chains) {
  const double n_numbers = static_cast<double>(chains.size(1) * chains.size(2));
  const at::Tensor rho = correlations(chains);
  const int64_t last = std::max<int64_t>(0, (chains.size(2) - 3) / 2);
  const at::Tensor even = rho.slice(1, 0, 2 * last + 2, 2);
  const at::Tensor pairs = even + rho.slice(1, 1, 2 * last + 2, 2);
  const at::Tensor counts = pairs.gt(0).to(at::kLong).cumprod(1).narrow(1, 0, last);
  const at::Tensor monotone = std::get<0>(pairs.cummin(1)).narrow(1, 0, last);
  const at::Tensor stop = counts.sum(1, /*keepdim=*/true);
  const at::Tensor next = even.gather(1, stop);
  const at::Tensor enters = next.gt(0).logical_or(pairs.gather(1, stop).ge(0));
  const at::Tensor time =
      -1 + 2 * (counts * monotone).sum(1) + at::where(enters, next, 0).squeeze(1);
  const at::Tensor size = n_numbers / time.clamp_min(1 / std::log10(n_numbers));
  return size.masked_fill(rho.isnan().any(1), NAN).masked_fill(never_changes(chains), n_numbers);
}

at::Tensor bulk_size(const at::Tensor& chains) {
  const at::Tensor halves = split_chains(chains);
  return effective_size(normal_scores(halves, sort_values(halves)));
}

at::Tensor tail_size(const at::Tensor& chains) {
  const Sorted sorted = sort_values(chains);
  const auto size_below = [&](double p) {
    return effective_size(split_chains(chains.le(sorted_quantile(sorted, p)).to(at::kDouble)));
  };
  return at::minimum(size_below(0.05), size_below(0.95));
}

at::Tensor mean_size(const at::Tensor& chains) { return effective_size(split_chains(chains)); }

at::Tensor error_of_mean(const at::Tensor& chains) {
  return chains.flatten(1).std(1) / mean_size(chains).sqrt();
}

at::Tensor time_of_mean(const at::Tensor& chains) {
  return static_cast<double>(chains.size(1) * chains.size(2)) / mean_size(chains);
}

at::Tensor known_correlations(const at::Tensor& chains) {
  return correlations(chains).masked_fill(never_changes(chains).unsqueeze(1), NAN);
}

/// statistic(chains), (Q, ...), of all quantities in x (n_draws, n_chains, ...), batch by batch.
at::Tensor of_quantities(const char* op, const at::Tensor& x,
                         at::Tensor (*statistic)(const at::Tensor&)) {
  const at::NoGradGuard no_grad;
  detail::check_floating(op, "x", x);
  TORCH_CHECK_VALUE(x.dim() >= 2, op, ": x must have shape (n_draws, n_chains, ...), got ",
                    detail::describe_shape(x.sizes()));
  detail::check_at_least(op, "n_draws", x.size(0), kMinDraws);
  detail::check_chains(op, "x", x);
  detail::check_finite(op, "x", x);
  const int64_t n_numbers = x.size(0) * x.size(1);
  const at::Tensor columns = x.reshape({x.size(0), x.size(1), x.numel() / n_numbers});
  std::vector<at::Tensor> results;
  detail::Progress progress(op, columns.size(2));
  int64_t done = 0;
  for (const at::Tensor& batch :
       columns.split(std::max<int64_t>(1, kBatchNumbers / n_numbers), 2)) {
    progress.step(done);
    done += batch.size(2);
    results.push_back(statistic(batch.permute({2, 1, 0}).to(at::kDouble).contiguous()));
  }
  return at::cat(results);
}

at::Tensor number_each(const char* op, const at::Tensor& x,
                       at::Tensor (*statistic)(const at::Tensor&)) {
  return of_quantities(op, x, statistic).view(x.sizes().slice(2));
}

at::Tensor r_hat_kernel(const at::Tensor& x) { return number_each("r_hat", x, rank_r_hat); }
at::Tensor ess_bulk_kernel(const at::Tensor& x) { return number_each("ess_bulk", x, bulk_size); }
at::Tensor ess_tail_kernel(const at::Tensor& x) { return number_each("ess_tail", x, tail_size); }
at::Tensor ess_mean_kernel(const at::Tensor& x) { return number_each("ess_mean", x, mean_size); }
at::Tensor mcse_mean_kernel(const at::Tensor& x) {
  return number_each("mcse_mean", x, error_of_mean);
}
at::Tensor autocorrelation_time_kernel(const at::Tensor& x) {
  return number_each("autocorrelation_time", x, time_of_mean);
}
at::Tensor autocorrelation_kernel(const at::Tensor& x) {
  const at::Tensor rho = of_quantities("autocorrelation", x, known_correlations);
  return rho.t().contiguous().view(x.select(1, 0).sizes());
}

void check_dimensions(const char* op, const at::Tensor& x) {
  detail::check_floating(op, "x", x);
  TORCH_CHECK_VALUE(x.dim() >= 2, op, ": x must have shape (n_draws, n_chains, ...), got ",
                    x.dim() == 0 ? "()" : "(N,)");
}

at::Tensor number_each_meta(const at::Tensor& x) {
  check_dimensions("diagnostics", x);
  return at::empty_symint(x.sym_sizes().slice(2), x.options().dtype(at::kDouble));
}

at::Tensor autocorrelation_meta(const at::Tensor& x) {
  check_dimensions("autocorrelation", x);
  return at::empty_symint(x.select(1, 0).sym_sizes(), x.options().dtype(at::kDouble));
}

}  // namespace

at::Tensor r_hat(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(r_hat_kernel)>("torch_ebm::r_hat");
  return op.call(x);
}

at::Tensor ess_bulk(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(ess_bulk_kernel)>("torch_ebm::ess_bulk");
  return op.call(x);
}

at::Tensor ess_tail(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(ess_tail_kernel)>("torch_ebm::ess_tail");
  return op.call(x);
}

at::Tensor ess_mean(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(ess_mean_kernel)>("torch_ebm::ess_mean");
  return op.call(x);
}

at::Tensor mcse_mean(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(mcse_mean_kernel)>("torch_ebm::mcse_mean");
  return op.call(x);
}

at::Tensor autocorrelation_time(const at::Tensor& x) {
  static const auto op = detail::find_operator<decltype(autocorrelation_time_kernel)>(
      "torch_ebm::autocorrelation_time");
  return op.call(x);
}

at::Tensor autocorrelation(const at::Tensor& x) {
  static const auto op =
      detail::find_operator<decltype(autocorrelation_kernel)>("torch_ebm::autocorrelation");
  return op.call(x);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("r_hat", &r_hat_kernel);
  m.impl("ess_bulk", &ess_bulk_kernel);
  m.impl("ess_tail", &ess_tail_kernel);
  m.impl("ess_mean", &ess_mean_kernel);
  m.impl("mcse_mean", &mcse_mean_kernel);
  m.impl("autocorrelation_time", &autocorrelation_time_kernel);
  m.impl("autocorrelation", &autocorrelation_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("r_hat", &number_each_meta);
  m.impl("ess_bulk", &number_each_meta);
  m.impl("ess_tail", &number_each_meta);
  m.impl("ess_mean", &number_each_meta);
  m.impl("mcse_mean", &number_each_meta);
  m.impl("autocorrelation_time", &number_each_meta);
  m.impl("autocorrelation", &autocorrelation_meta);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("r_hat", torch::CppFunction::makeFallthrough());
  m.impl("ess_bulk", torch::CppFunction::makeFallthrough());
  m.impl("ess_tail", torch::CppFunction::makeFallthrough());
  m.impl("ess_mean", torch::CppFunction::makeFallthrough());
  m.impl("mcse_mean", torch::CppFunction::makeFallthrough());
  m.impl("autocorrelation_time", torch::CppFunction::makeFallthrough());
  m.impl("autocorrelation", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
