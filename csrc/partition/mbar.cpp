#include "csrc/partition/mbar.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIndexing.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"

namespace torch_ebm {

namespace {

constexpr const char* kMbar = "mbar";
constexpr int64_t kMaxMbarIterations = 500;
constexpr int64_t kChunkSize = 1 << 15;  // energies, so that a chunk stays in the cache
constexpr int64_t kParts = 16;
constexpr double kMbarAccuracy = 1e-10;  // of log Z
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

/// Calls function(energies (S, n), part, samples) for some samples at a time, parts on several threads. There are as
/// many parts whatever the number of threads, so that roundings do not depend on it.
template <typename Function>
void for_chunks(const at::Tensor& energies, const Function& function) {
  const int64_t n = energies.size(1);
  const int64_t chunk = std::max<int64_t>(kChunkSize / energies.size(0), 1);
  const auto run = [&](int64_t first, int64_t last) {
    const at::NoGradGuard no_grad;
    for (int64_t part = first; part < last; ++part) {
      const int64_t end = (part + 1) * n / kParts;
      for (int64_t begin = part * n / kParts; begin < end; begin += chunk) {
        const at::indexing::Slice samples(begin, std::min(begin + chunk, end));
        function(energies.index({at::indexing::Slice(), samples}), part, samples);
      }
    }
  };
  if (energies.is_cpu()) {
    at::parallel_for(0, kParts, 1, run);
  } else {
    run(0, kParts);
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

std::tuple<at::Tensor, at::Tensor, at::Tensor> mbar_kernel(const at::Tensor& energies,
                                                           const at::Tensor& counts) {
  const at::NoGradGuard no_grad;
  const c10::InferenceMode normal_tensors(false);  // other threads are not in inference mode
  check_arguments(energies, counts);
  const detail::MBAR problem(energies.detach(), counts.to(energies.device(), at::kDouble));
  MBAREstimate estimate = problem.estimate(problem.log_z());
  return {estimate.log_z, estimate.covariance, estimate.overlap};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> mbar_meta(const at::Tensor& energies,
                                                         const at::Tensor&) {
  const c10::SymInt k = energies.sym_size(0);
  const auto options = energies.options().dtype(at::kDouble);
  return {at::empty_symint({k}, options), at::empty_symint({k, k}, options),
          at::empty_symint({k, k}, options)};
}

}  // namespace

namespace detail {

MBAR::MBAR(const at::Tensor& energies, const at::Tensor& counts)
    : all_energies_(energies),
      all_counts_(counts),
      sampled_(counts.nonzero().flatten()),
      energies_(sampled_.size(0) == counts.size(0) ? energies : energies.index_select(0, sampled_)),
      counts_(counts.index_select(0, sampled_)),
      root_(counts_.sqrt()) {}

MBAR::Sums MBAR::sums(const at::Tensor& log_z) const {
  std::vector<Sums> parts(kParts);
  const at::Tensor log_scale = (counts_.log() - log_z).unsqueeze(1);
  for_chunks(energies_, [&](const at::Tensor& energies, int64_t part, at::indexing::Slice) {
    const at::Tensor p = at::softmax(log_scale - energies, 0);
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

at::Tensor MBAR::solve(at::Tensor log_z) const {
  Sums here = sums(log_z);
  for (int64_t i = 0; i < kMaxMbarIterations; ++i) {
    const at::Tensor correction = residual(here);
    if (const auto step = newton_step(here)) {
      if (largest(*step) < kMbarAccuracy) return log_z + *step;
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
  throw_no_overlap();
}

at::Tensor MBAR::log_mixture(const at::Tensor& log_z) const {
  const at::Tensor log_mixture = at::empty({energies_.size(1)}, counts_.options());
  const at::Tensor log_scale = (counts_.log() - log_z).unsqueeze(1);
  for_chunks(energies_, [&](const at::Tensor& energies, int64_t, at::indexing::Slice samples) {
    log_mixture.index({samples}).copy_(at::logsumexp(log_scale - energies, {0}));
  });
  return log_mixture;
}

at::Tensor MBAR::log_z(const std::optional<at::Tensor>& start) const {
  // From there no state starts without weight: its best sample is not outweighed by any other state.
  const at::Tensor first =
      start ? start->index_select(0, sampled_) : -energies_.amin(1).to(at::kDouble);
  const at::Tensor mixture = log_mixture(solve(first));
  std::vector<at::Tensor> parts(kParts);
  for_chunks(all_energies_,
             [&](const at::Tensor& energies, int64_t part, at::indexing::Slice samples) {
               const at::Tensor log_w = -energies - mixture.index({samples});
               const at::Tensor sum = at::logsumexp(log_w, {1});
               parts[part] = parts[part].defined() ? at::logaddexp(parts[part], sum) : sum;
             });
  return at::logsumexp(at::stack(defined(parts)), {0});
}

MBAREstimate MBAR::estimate(const at::Tensor& log_z) const {
  const at::Tensor mixture = log_mixture(log_z.index_select(0, sampled_));
  std::vector<at::Tensor> parts(kParts);
  for_chunks(
      all_energies_, [&](const at::Tensor& energies, int64_t part, at::indexing::Slice samples) {
        const at::Tensor w = at::exp(-log_z.unsqueeze(1) - energies - mixture.index({samples}));
        add_to(parts[part], w.mm(w.t()));
      });
  const at::Tensor gram = at::stack(defined(parts)).sum(0);  // W'W of their eq. 9
  // Their eq. 8, W'(1 - W N W')^+ W, for matrices of S rows alone.
  const at::Tensor unit = root_ / root_.norm();
  const at::Tensor columns = gram.index_select(1, sampled_) * root_;
  const at::Tensor among = columns.index_select(0, sampled_) * root_.unsqueeze(1);
  const auto factor =
      cholesky_factor(at::eye(root_.size(0), root_.options()) - among + at::outer(unit, unit));
  if (!factor) throw_no_overlap();
  const at::Tensor theta = gram + columns.mm(at::cholesky_solve(columns.t(), *factor));
  const at::Tensor to_first = theta[0];
  return {.log_z = log_z - log_z[0],
          .covariance = theta - to_first - to_first.unsqueeze(1) + theta[0][0],
          .overlap = gram * all_counts_};
}

}  // namespace detail

MBAREstimate mbar(const at::Tensor& energies, const at::Tensor& counts) {
  static const auto op = detail::find_operator<decltype(mbar_kernel)>("torch_ebm::mbar");
  const auto [log_z, covariance, overlap] = op.call(energies, counts);
  return {log_z, covariance, overlap};
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) { m.impl("mbar", &mbar_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("mbar", &mbar_meta); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("mbar", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
