#include "csrc/partition/bridging/mbar.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"

namespace torch_ebm {

namespace {

constexpr const char* kMbar = "mbar";
constexpr const char* kMbarExpectation = "mbar_expectation";
constexpr int64_t kMaxMbarIterations = 500;
constexpr int64_t kChunkSize = 1 << 15;  // energies, so that a chunk stays in the cache
constexpr int64_t kParts = 16;
constexpr double kMbarAccuracy = 1e-10;  // of log Z
constexpr double kMbarNear = 1;  // of log Z: steps below it end the search for the constants
constexpr double kSmallestPivot =
    1e-13;  // of a matrix with elements near 1 that rounding leaves singular

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

/// Its Cholesky factor, unless rounding errors alone keep it from being singular.
std::optional<at::Tensor> cholesky_factor(const at::Tensor& matrix) {
  const auto [factor, info] = at::linalg_cholesky_ex(matrix);
  if (info.item<int64_t>() != 0) return std::nullopt;
  if (!(factor.diagonal().min().item<double>() > std::sqrt(kSmallestPivot))) return std::nullopt;
  return factor;
}

void add_to(at::Tensor& sum, const at::Tensor& term) { sum = sum.defined() ? sum + term : term; }

/// The parts that had samples.
std::vector<at::Tensor> defined(std::vector<at::Tensor> parts) {
  std::erase_if(parts, [](const at::Tensor& part) { return !part.defined(); });
  return parts;
}

/// Calls function(part, samples) for some of n samples at a time, parts on several threads. There are as many parts
/// whatever the number of threads, so that roundings do not depend on it. Between rounds of some chunks of every part
/// the progress handler may stop it.
template <typename Function>
void for_chunks(const at::Tensor& energies, const Function& function) {
  constexpr int64_t kChunksOfARound = 64;
  const int64_t n = energies.size(1);
  const int64_t chunk = std::max<int64_t>(kChunkSize / energies.size(0), 1);
  const int64_t of_a_round = kChunksOfARound * chunk;
  const auto run = [&](int64_t first, int64_t last, int64_t done) {
    const at::NoGradGuard no_grad;
    for (int64_t part = first; part < last; ++part) {
      const int64_t from = part * n / kParts + done;
      const int64_t end = std::min(from + of_a_round, (part + 1) * n / kParts);
      for (int64_t begin = from; begin < end; begin += chunk) {
        function(part, at::indexing::Slice(begin, std::min(begin + chunk, end)));
      }
    }
  };
  detail::Progress progress(kMbar, n);
  for (int64_t done = 0; done * kParts < n + kParts; done += of_a_round) {
    if (energies.is_cpu()) {
      at::parallel_for(0, kParts, 1, [&](int64_t first, int64_t last) { run(first, last, done); });
    } else {
      run(0, kParts, done);
    }
    progress.step(std::min(done * kParts, n));
  }
}

[[noreturn]] void throw_no_overlap() {
  C10_THROW_ERROR(ValueError,
                  "mbar: states fall into groups that hardly overlap, so that no ratio between the "
                  "groups is known; put states between them");
}

void check_arguments(const at::Tensor& energies, const at::Tensor& counts) {
  detail::check_floating(kMbar, "energies", energies);
  detail::check_shape(kMbar, "energies", energies, {-1, -1}, "(K, N)");
  detail::check_at_least(kMbar, "the number of states", energies.size(0), 1);
  detail::check_at_least(kMbar, "the number of samples", energies.size(1), 1);
  detail::check_shape(kMbar, "counts", counts, {energies.size(0)}, "(K,)");
  TORCH_CHECK_TYPE(at::isIntegralType(counts.scalar_type(), /*includeBool=*/false), kMbar,
                   ": counts must be integers, got ", counts.scalar_type());
  TORCH_CHECK_VALUE(counts.ge(0).all().item<bool>(), kMbar, ": counts must not be negative");
  TORCH_CHECK_VALUE(counts.sum().item<int64_t>() == energies.size(1), kMbar,
                    ": counts must add up to the number of samples, ", energies.size(1), ", got ",
                    counts.sum().item<int64_t>());
  TORCH_CHECK_VALUE(energies.gt(-INFINITY).all().item<bool>(), kMbar,
                    ": energies must not be NaN or -inf");
  const at::Tensor possible = energies.lt(INFINITY);
  TORCH_CHECK_VALUE(possible.any(1).all().item<bool>(), kMbar,
                    ": energies of a state are +inf at every sample: it forbids them all");
  TORCH_CHECK_VALUE(possible.logical_and(counts.gt(0).unsqueeze(1)).any(0).all().item<bool>(),
                    kMbar, ": energies of a sample are +inf at every state that samples came from");
}

/// function(the solved equations), with what every operator here checks.
template <typename Function>
auto with_solution(const at::Tensor& energies, const at::Tensor& counts, const Function& function) {
  const at::NoGradGuard no_grad;
  const c10::InferenceMode normal_tensors(false);  // other threads are not in inference mode
  check_arguments(energies, counts);
  return function(detail::MBAR(energies.detach(), counts.to(energies.device(), at::kDouble)));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> mbar_kernel(const at::Tensor& energies,
                                                           const at::Tensor& counts) {
  return with_solution(energies, counts, [](const detail::MBAR& solution) {
    MBAREstimate estimate = solution.estimate();
    return std::tuple(estimate.log_z, estimate.covariance, estimate.overlap);
  });
}

at::Tensor mbar_weights_kernel(const at::Tensor& energies, const at::Tensor& counts) {
  return with_solution(energies, counts,
                       [](const detail::MBAR& solution) { return solution.weights(); });
}

void check_values(const at::Tensor& values, const at::Tensor& energies) {
  detail::check_floating(kMbarExpectation, "values", values);
  TORCH_CHECK_VALUE(
      values.dim() >= 1 && energies.dim() == 2 && values.sym_size(0) == energies.sym_size(1),
      kMbarExpectation, ": values must have shape (N, ...), one for every sample, got ",
      values.sym_sizes(), " with energies ", energies.sym_sizes());
}

std::tuple<at::Tensor, at::Tensor> mbar_expectation_kernel(const at::Tensor& energies,
                                                           const at::Tensor& counts,
                                                           const at::Tensor& values) {
  check_values(values, energies);
  detail::check_finite(kMbarExpectation, "values", values);
  std::vector<int64_t> shape = values.sizes().vec();
  shape[0] = energies.size(0);
  const int64_t n_values = c10::multiply_integers(values.sizes().slice(1));
  return with_solution(energies, counts, [&](const detail::MBAR& solution) {
    const auto [mean, variance] = solution.expectation(
        values.detach().reshape({values.size(0), n_values}).to(energies.device(), at::kDouble));
    return std::tuple(mean.reshape(shape), variance.clamp_min(0).sqrt().reshape(shape));
  });
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> mbar_meta(const at::Tensor& energies,
                                                         const at::Tensor&) {
  detail::check_shape(kMbar, "energies", energies, {-1, -1}, "(K, N)");
  const c10::SymInt k = energies.sym_size(0);
  const auto options = energies.options().dtype(at::kDouble);
  return {at::empty_symint({k}, options), at::empty_symint({k, k}, options),
          at::empty_symint({k, k}, options)};
}

at::Tensor mbar_weights_meta(const at::Tensor& energies, const at::Tensor&) {
  return at::empty_symint(energies.sym_sizes(), energies.options().dtype(at::kDouble));
}

std::tuple<at::Tensor, at::Tensor> mbar_expectation_meta(const at::Tensor& energies,
                                                         const at::Tensor&,
                                                         const at::Tensor& values) {
  check_values(values, energies);
  std::vector<c10::SymInt> shape = values.sym_sizes().vec();
  shape[0] = energies.sym_size(0);
  const auto options = energies.options().dtype(at::kDouble);
  return {at::empty_symint(shape, options), at::empty_symint(shape, options)};
}

}  // namespace

namespace detail {

MBAR::MBAR(const at::Tensor& energies, const at::Tensor& counts,
           const std::optional<at::Tensor>& log_z)
    : energies_(energies),
      all_counts_(counts),
      sampled_(counts.nonzero().flatten()),
      counts_(counts.index_select(0, sampled_)),
      root_(counts_.sqrt()),
      // From there no state starts without weight: its best sample is not outweighed by any other state.
      shift_(log_z ? -*log_z : energies.amin(1).to(at::kDouble)) {
  find_offset();
  solve();
  find_log_mixture();
  if (sampled_.size(0) < counts.size(0)) find_unsampled();
}

at::Tensor MBAR::reduced(const at::Tensor& states, const at::indexing::Slice& samples) const {
  const bool all = states.size(0) == energies_.size(0);
  const at::Tensor columns = energies_.index({at::indexing::Slice(), samples});
  const at::Tensor energies = all ? columns : columns.index_select(0, states);
  const at::Tensor shift = all ? shift_ : shift_.index_select(0, states);
  return (energies - shift.unsqueeze(1)).sub_(offset_.index({samples}));
}

/// The least energy of each sample at the states that have samples.
void MBAR::find_offset() {
  offset_ = at::zeros({energies_.size(1)}, counts_.options());
  for_chunks(energies_, [&](int64_t, const at::indexing::Slice& samples) {
    offset_.index({samples}).copy_(reduced(sampled_, samples).amin(0));
  });
}

MBAR::Sums MBAR::sums(const at::Tensor& log_z) const {
  std::vector<Sums> parts(kParts);
  const at::Tensor log_scale = (counts_.log() - log_z).unsqueeze(1);
  for_chunks(energies_, [&](int64_t part, const at::indexing::Slice& samples) {
    const at::Tensor p = at::softmax(log_scale - reduced(sampled_, samples), 0);
    add_to(parts[part].states, p.sum(1));
    add_to(parts[part].pairs, p.mm(p.t()));
  });
  Sums sums;
  for (const Sums& part : parts) {
    if (!part.states.defined()) continue;
    add_to(sums.states, part.states);
    add_to(sums.pairs, part.pairs);
  }
  return sums;
}

/// A self-consistent iteration (their eq. 11) adds it to log Z.
at::Tensor MBAR::residual(const Sums& sums) const { return at::log(sums.states / counts_); }

/// The equations are those of a maximum of a concave function of log Z, with gradient states - counts and Hessian pairs
/// - diag(states). Its null vector, a change of all log Z alike, is made regular.
std::optional<at::Tensor> MBAR::newton_step(const Sums& sums) const {
  const at::Tensor unit = root_ / root_.norm();
  const at::Tensor scaled = (at::diag(sums.states) - sums.pairs) / at::outer(root_, root_);
  const auto factor = cholesky_factor(scaled + at::outer(unit, unit));
  if (!factor) return std::nullopt;
  const at::Tensor gradient = (sums.states - counts_) / root_;
  return at::cholesky_solve(gradient.unsqueeze(1), *factor).squeeze(1) / root_;
}

void MBAR::solve() {
  at::Tensor log_z = at::zeros_like(counts_);  // what the constants leave of it
  const auto into_constants = [&] {
    shift_.index_add_(0, sampled_, log_z, -1);
    log_z = at::zeros_like(log_z);
    find_offset();
  };
  bool near = false;
  double last_step = INFINITY;  // of Newton's method; infinite where its equations are singular
  Sums here = sums(log_z);
  Progress progress(kMbar, kMaxMbarIterations);
  for (int64_t i = 0; i < kMaxMbarIterations; ++i) {
    progress.step(i);
    const at::Tensor correction = residual(here);
    const auto step = newton_step(here);
    last_step = step ? largest(*step) : INFINITY;
    if (last_step < kMbarNear && !near) {
      near = true;
      log_z += *step;
      into_constants();
      here = sums(log_z);
      continue;
    }
    if (last_step < kMbarAccuracy) {
      log_z += *step;
      return into_constants();
    }
    if (step) {
      const at::Tensor next = log_z + *step;
      Sums there = sums(next);
      if (largest(residual(there)) < largest(correction)) {
        log_z = next;
        here = std::move(there);
        continue;
      }
    }
    log_z = log_z + correction;
    here = sums(log_z);
  }
  if (!std::isfinite(last_step)) throw_no_overlap();
  C10_THROW_ERROR(
      ValueError,
      fmt::format(
          "mbar: the equations were not solved to {} in log Z within {} iterations; the last "
          "step was {:.2g}; states that overlap more are solved sooner",
          kMbarAccuracy, kMaxMbarIterations, last_step));
}

void MBAR::find_log_mixture() {
  log_mixture_ = at::empty({energies_.size(1)}, counts_.options());
  const at::Tensor log_counts = counts_.log().unsqueeze(1);
  for_chunks(energies_, [&](int64_t, const at::indexing::Slice& samples) {
    log_mixture_.index({samples}).copy_(
        at::logsumexp(log_counts - reduced(sampled_, samples), {0}));
  });
}

/// log Z of the states without samples, by importance sampling from all samples.
void MBAR::find_unsampled() {
  const at::Tensor unsampled = all_counts_.eq(0).nonzero().flatten();
  std::vector<at::Tensor> parts(kParts);
  for_chunks(energies_, [&](int64_t part, const at::indexing::Slice& samples) {
    const at::Tensor log_w = -reduced(unsampled, samples) - log_mixture_.index({samples});
    const at::Tensor sum = at::logsumexp(log_w, {1});
    parts[part] = parts[part].defined() ? at::logaddexp(parts[part], sum) : sum;
  });
  shift_.index_add_(0, unsampled, at::logsumexp(at::stack(defined(parts)), {0}), -1);
}

at::Tensor MBAR::chunk_weights(const at::indexing::Slice& samples) const {
  const at::Tensor states = at::arange(energies_.size(0), sampled_.options());
  return at::exp(-reduced(states, samples) - log_mixture_.index({samples}));
}

at::Tensor MBAR::weights() const {
  const at::Tensor weights = at::empty(energies_.sizes(), counts_.options());
  for_chunks(energies_, [&](int64_t, const at::indexing::Slice& samples) {
    weights.index({at::indexing::Slice(), samples}).copy_(chunk_weights(samples));
  });
  return weights;
}

at::Tensor MBAR::gram() const {
  std::vector<at::Tensor> parts(kParts);
  for_chunks(energies_, [&](int64_t part, const at::indexing::Slice& samples) {
    const at::Tensor w = chunk_weights(samples);
    add_to(parts[part], w.mm(w.t()));
  });
  return at::stack(defined(parts)).sum(0);
}

at::Tensor MBAR::information_factor(const at::Tensor& gram) const {
  const at::Tensor unit = root_ / root_.norm();
  const at::Tensor among =
      gram.index_select(0, sampled_).index_select(1, sampled_) * at::outer(root_, root_);
  const auto factor =
      cholesky_factor(at::eye(root_.size(0), root_.options()) - among + at::outer(unit, unit));
  if (!factor) throw_no_overlap();
  return *factor;
}

MBAREstimate MBAR::estimate() const {
  const at::Tensor gram = this->gram();  // W'W of their eq. 9
  // Their eq. 8, W'(1 - W N W')^+ W, for matrices of S rows alone.
  const at::Tensor columns = gram.index_select(1, sampled_) * root_;
  const at::Tensor theta =
      gram + columns.mm(at::cholesky_solve(columns.t(), information_factor(gram)));
  const at::Tensor to_first = theta[0];
  return {.log_z = shift_[0] - shift_,
          .covariance = theta - to_first - to_first.unsqueeze(1) + theta[0][0],
          .overlap = gram * all_counts_};
}

/// The variance is eq. 8 for a column W_nk (f_n - <f>_k) beside those of the states: a change of log Z and of the log
/// of sum_n W_nk f_n, which is their way (eqs. 14-15), gives the same without positive f.
std::pair<at::Tensor, at::Tensor> MBAR::expectation(const at::Tensor& values) const {
  const int64_t n_states = energies_.size(0);
  std::vector<at::Tensor> parts(kParts);
  for_chunks(energies_, [&](int64_t part, const at::indexing::Slice& samples) {
    add_to(parts[part], chunk_weights(samples).mm(values.index({samples})));
  });
  const at::Tensor mean = at::stack(defined(parts)).sum(0);
  const at::Tensor factor = information_factor(gram());
  const at::Tensor variance = at::empty_like(mean);
  for (int64_t d = 0; d < values.size(1); ++d) {
    std::vector<at::Tensor> own(kParts);    // a'a, (K,)
    std::vector<at::Tensor> cross(kParts);  // a'W, (K, S)
    for_chunks(energies_, [&](int64_t part, const at::indexing::Slice& samples) {
      const at::Tensor w = chunk_weights(samples);
      const at::Tensor a = w * (values.index({samples, d}) - mean.select(1, d).unsqueeze(1));
      add_to(own[part], a.square().sum(1));
      add_to(cross[part], a.mm(w.index_select(0, sampled_).t()));
    });
    const at::Tensor scaled = at::stack(defined(cross)).sum(0) * root_;
    const at::Tensor through_log_z =
        scaled.mul(at::cholesky_solve(scaled.t(), factor).t()).sum(1).view({n_states});
    variance.select(1, d).copy_(at::stack(defined(own)).sum(0) + through_log_z);
  }
  return {mean, variance};
}

}  // namespace detail

MBAREstimate mbar(const at::Tensor& energies, const at::Tensor& counts) {
  static const auto op = detail::find_operator<decltype(mbar_kernel)>("torch_ebm::mbar");
  const auto [log_z, covariance, overlap] = op.call(energies, counts);
  return {log_z, covariance, overlap};
}

at::Tensor mbar_weights(const at::Tensor& energies, const at::Tensor& counts) {
  static const auto op =
      detail::find_operator<decltype(mbar_weights_kernel)>("torch_ebm::mbar_weights");
  return op.call(energies, counts);
}

MBARExpectation mbar_expectation(const at::Tensor& energies, const at::Tensor& counts,
                                 const at::Tensor& values) {
  static const auto op =
      detail::find_operator<decltype(mbar_expectation_kernel)>("torch_ebm::mbar_expectation");
  const auto [mean, std_error] = op.call(energies, counts, values);
  return {mean, std_error};
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("mbar", &mbar_kernel);
  m.impl("mbar_weights", &mbar_weights_kernel);
  m.impl("mbar_expectation", &mbar_expectation_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("mbar", &mbar_meta);
  m.impl("mbar_weights", &mbar_weights_meta);
  m.impl("mbar_expectation", &mbar_expectation_meta);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  for (const char* name : {"mbar", "mbar_weights", "mbar_expectation"}) {
    m.impl(name, torch::CppFunction::makeFallthrough());
  }
}

}  // namespace torch_ebm
