#include "csrc/samplers/ladder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/any_sampler.h"
#include "torch_ebm/samplers/replica_exchange.h"

namespace torch_ebm {

namespace {

/// Rejections below this count as this, so that no two rungs of an adapted ladder coincide.
constexpr double kLeastRejection = 1e-4;

std::vector<double> checked_rejections(const at::Tensor& swap_rate, int64_t n_pairs) {
  detail::check_floating("adapt_ladder", "swap_rate", swap_rate);
  detail::check_shape("adapt_ladder", "swap_rate", swap_rate, {n_pairs}, "(R - 1,)");
  std::vector<double> rejections;
  for (int64_t pair = 0; pair < n_pairs; ++pair) {
    const double rate = swap_rate[pair].item<double>();
    TORCH_CHECK_VALUE(rate >= 0 && rate <= 1, "adapt_ladder: swap_rate must be in [0, 1], got ",
                      rate, " for pair ", pair);
    rejections.push_back(std::max(1 - rate, kLeastRejection));
  }
  return rejections;
}

at::Tensor adapt_ladder_meta(const at::Tensor& betas, const at::Tensor&) {
  return at::empty_symint(betas.sym_sizes(), betas.options().dtype(at::kDouble));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> tune_ladder_op(
    const c10::IValue& energy, const at::Tensor& x, const at::Tensor& betas,
    const c10::IValue& sampler, int64_t n_rounds, int64_t n_steps,
    std::optional<at::Generator> generator) {
  const Ladder ladder = tune_ladder(Energy::from_ivalue("tune_ladder", energy), x, betas,
                                    Sampler::from_ivalue("tune_ladder", sampler),
                                    {n_rounds, n_steps, std::move(generator)});
  return {ladder.betas, ladder.x, ladder.swap_rate};
}

}  // namespace

at::Tensor detail::checked_ladder(const char* op, const at::Tensor& betas) {
  check_floating(op, "betas", betas);
  check_shape(op, "betas", betas, {-1}, "(R,)");
  TORCH_CHECK_VALUE(betas.size(0) >= 2, op, ": betas must hold at least two rungs, got ",
                    betas.size(0));
  const at::Tensor ladder = betas.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* b = ladder.const_data_ptr<double>();
  for (int64_t rung = 0; rung < ladder.size(0); ++rung) {
    TORCH_CHECK_VALUE(b[rung] >= 0 && std::isfinite(b[rung]), op,
                      ": betas must be finite and >= 0, got ", b[rung], " for rung ", rung);
    TORCH_CHECK_VALUE(rung == 0 || b[rung] < b[rung - 1], op,
                      ": betas must be strictly decreasing, got ", b[rung], " for rung ", rung);
  }
  return ladder;
}

void detail::check_no_beta(const char* op, const RunOptions& run) {
  TORCH_CHECK_VALUE(!run.beta || !run.beta->defined(), op,
                    ": beta must be absent: betas holds the temperatures");
}

double Ladder::barrier() const { return (1 - swap_rate).sum().item<double>(); }

int64_t Ladder::suggested_rungs() const {
  return std::max<int64_t>(2, static_cast<int64_t>(std::ceil(2 * barrier())) + 1);
}

at::Tensor adapt_ladder(const at::Tensor& betas, const at::Tensor& swap_rate) {
  const at::Tensor old_ladder = detail::checked_ladder("adapt_ladder", betas);
  const int64_t n_pairs = old_ladder.size(0) - 1;
  const std::vector<double> rejections = checked_rejections(swap_rate, n_pairs);
  const double part =
      std::accumulate(rejections.begin(), rejections.end(), 0.0) / static_cast<double>(n_pairs);
  at::Tensor new_ladder = old_ladder.clone();
  const double* from = old_ladder.const_data_ptr<double>();
  double* to = new_ladder.mutable_data_ptr<double>();
  int64_t pair = 0;
  double below = 0;  // the rejections of the pairs before this one
  for (int64_t rung = 1; rung < n_pairs; ++rung) {
    const double target = part * static_cast<double>(rung);
    while (pair < n_pairs - 1 && below + rejections[pair] < target) below += rejections[pair++];
    const double fraction = (target - below) / rejections[pair];
    to[rung] = from[pair] + fraction * (from[pair + 1] - from[pair]);
  }
  return new_ladder;
}

Ladder tune_ladder(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                   const Sampler& sampler, const TuneLadderOptions& options) {
  constexpr int64_t kMostRounds = 30;
  detail::check_at_least("tune_ladder", "n_rounds", options.n_rounds, 1);
  TORCH_CHECK_VALUE(options.n_rounds <= kMostRounds, "tune_ladder: n_rounds must be at most ",
                    kMostRounds, ", as every round is twice as long as the last, got ",
                    options.n_rounds);
  // A round of one step would attempt no swap of the odd pairs.
  detail::check_at_least("tune_ladder", "n_steps", options.n_steps, 2);
  Ladder ladder{detail::checked_ladder("tune_ladder", betas), x, {}};
  for (int64_t round = 0; round < options.n_rounds; ++round) {
    const RunOptions run{.n_steps = options.n_steps << round, .generator = options.generator};
    const ReplicaSamples samples = replica_exchange(energy, ladder.x, ladder.betas, sampler, run);
    ladder = {adapt_ladder(ladder.betas, samples.swap_rate), samples.x, samples.swap_rate};
  }
  return ladder;
}

TORCH_EBM_DRIVER("tune_ladder", &tune_ladder_op)
TORCH_EBM_NO_GRADIENT("adapt_ladder", &adapt_ladder, &adapt_ladder_meta)
TORCH_EBM_NO_VMAP("adapt_ladder")

}  // namespace torch_ebm
