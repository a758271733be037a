#include "torch_ebm/samplers/replica_exchange.h"

#include <numeric>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/any_sampler.h"
#include "csrc/samplers/chain_run.h"
#include "csrc/samplers/ladder.h"

namespace torch_ebm {

namespace {

constexpr const char* kReplicaExchange = "replica_exchange";

/// The partner with which every rung may exchange its state in a step: (1, 0, 3, 2, ...) or (0, 2,
/// 1, 4, 3, ...). A rung without a neighbour is its own partner.
std::vector<int64_t> partners(int64_t n_rungs, int64_t step) {
  std::vector<int64_t> partner(n_rungs);
  std::iota(partner.begin(), partner.end(), 0);
  for (int64_t rung = step % 2; rung + 1 < n_rungs; rung += 2) {
    std::swap(partner[rung], partner[rung + 1]);
  }
  return partner;
}

/// R rungs of N chains, and which replica, that is which of the first states, each of them holds.
class Rungs {
 public:
  Rungs(const Energy& energy, at::Tensor ladder, detail::ChainRun& chains, int64_t n_steps)
      : energy_(energy),
        ladder_(std::move(ladder)),
        chains_(chains),
        n_chains_(chains.x.size(1)),
        rungs_(at::arange(ladder_.size(0), ladder_.options().dtype(at::kLong))),
        holds_(rungs_.unsqueeze(1).repeat({1, n_chains_})),
        accepted_(at::zeros_like(ladder_)),
        tried_(at::zeros_like(ladder_)),
        replica_(
            at::empty({n_steps, ladder_.size(0), n_chains_}, rungs_.options().dtype(at::kShort))) {}

  /// The inverse temperature of each of the R N states.
  at::Tensor betas() const { return ladder_.repeat_interleave(n_chains_); }

  /// Exchanges `states` (R, N, ...) with the partner of every rung; what results are the states of the chains.
  void exchange(const at::Tensor& states, const std::vector<int64_t>& partners, int64_t step) {
    const at::Tensor partner = at::tensor(partners, at::kLong).to(rungs_.device());
    const detail::Decision decision = decide(states, partner);
    const auto swapped = [&](const at::Tensor& x) {
      std::vector<int64_t> shape(x.dim(), 1);
      shape[0] = x.size(0);
      shape[1] = n_chains_;
      return at::where(decision.accepted.view(shape), x.index_select(0, partner), x);
    };
    const at::Tensor lower = rungs_.lt(partner);  // of a pair that is tried
    accepted_ = accepted_ + decision.probability.mean(1) * lower;
    tried_ = tried_ + lower;
    holds_ = swapped(holds_);
    replica_[step].scatter_(0, holds_, rungs_.to(at::kShort).unsqueeze(1).expand_as(holds_));
    chains_.x = swapped(states);
  }

  at::Tensor swap_rate() const { return (accepted_ / tried_).slice(0, 0, ladder_.size(0) - 1); }
  const at::Tensor& replica() const { return replica_; }

 private:
  /// (R, N); a pair decides as one, since both of its rungs have the same log ratio and the same uniform number.
  detail::Decision decide(const at::Tensor& states, const at::Tensor& partner) const {
    const auto rows = [&](const at::Tensor& rung) {
      return ladder_.index_select(0, rung).repeat_interleave(n_chains_);
    };
    const at::Tensor energies =
        energy_.values_at(states.flatten(0, 1), {rows(rungs_), rows(partner)})
            .view({2, ladder_.size(0), n_chains_});
    const auto of_pair = [&](const at::Tensor& x) { return x + x.index_select(0, partner); };
    const at::Tensor uniform =
        passes::uniform_like(at::empty({n_chains_, ladder_.size(0)}, ladder_.options()),
                             chains_.draw(detail::kAccept))
            .t()
            .index_select(0, at::minimum(rungs_, partner));
    const at::Tensor proposed = of_pair(energies[1]);
    return detail::metropolis(of_pair(energies[0]) - proposed, proposed, uniform);
  }

  const Energy& energy_;
  at::Tensor ladder_;  // (R,), float64
  detail::ChainRun& chains_;
  int64_t n_chains_;
  at::Tensor rungs_;     // 0, 1, ..., R - 1
  at::Tensor holds_;     // (R, N): the replica at every rung
  at::Tensor accepted_;  // (R,): sums over the steps, for the pair of a rung and the next
  at::Tensor tried_;
  at::Tensor replica_;
};

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> replica_exchange_op(
    const c10::IValue& energy, const at::Tensor& x, const at::Tensor& betas,
    const c10::IValue& sampler, int64_t first_step, bool all_rungs, int64_t n_steps, int64_t thin,
    bool inplace, std::optional<at::Generator> generator) {
  const ReplicaSamples samples = replica_exchange(
      Energy::from_ivalue(kReplicaExchange, energy), x, betas,
      Sampler::from_ivalue(kReplicaExchange, sampler),
      {.n_steps = n_steps, .thin = thin, .inplace = inplace, .generator = std::move(generator)},
      {first_step, all_rungs});
  return {samples.x, samples.swap_rate, samples.trajectory, samples.replica};
}

}  // namespace

ReplicaSamples replica_exchange(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                                const Sampler& sampler, const RunOptions& run,
                                const ReplicaExchangeOptions& options) {
  const at::Tensor ladder = detail::checked_ladder(kReplicaExchange, betas).to(x.device());
  detail::check_no_beta(kReplicaExchange, run);
  detail::check_at_least(kReplicaExchange, "first_step", options.first_step, 0);
  detail::check_at_least(kReplicaExchange, "thin", run.thin, 0);
  TORCH_CHECK_VALUE(ladder.size(0) <= INT16_MAX, kReplicaExchange, ": betas must hold at most ",
                    INT16_MAX, " rungs, got ", ladder.size(0));
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(0) == ladder.size(0), kReplicaExchange,
                    ": x must have shape (", ladder.size(0), ", N, ...), got ",
                    detail::describe_shape(x.sizes()));
  RunOptions without_trajectory = run;
  without_trajectory.thin = 0;  // it is kept here
  detail::ChainRun chains(kReplicaExchange, x, without_trajectory);
  at::Tensor trajectory = detail::empty_trajectory(run, options.all_rungs ? x : x[0]);
  Rungs rungs(energy, ladder, chains, run.n_steps);

  const Samples samples = chains.run([&](int64_t step) {
    const at::Tensor states = detail::moved(kReplicaExchange, sampler, energy,
                                            chains.x.flatten(0, 1), rungs.betas(), run.generator)
                                  .x;
    rungs.exchange(states.view(x.sizes()), partners(ladder.size(0), options.first_step % 2 + step),
                   step);
    const int64_t done = step + 1;
    if (run.thin > 0 && done % run.thin == 0) {
      trajectory[done / run.thin - 1].copy_(options.all_rungs ? chains.x : chains.x[0]);
    }
    return at::Tensor();
  });
  return {samples.x, rungs.swap_rate(), trajectory, rungs.replica()};
}

TORCH_EBM_DRIVER("replica_exchange", &replica_exchange_op)

}  // namespace torch_ebm
