#include "torch_ebm/samplers/gibbs_with_gradients.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/binary_flips.h"
#include "csrc/samplers/discrete.h"

namespace torch_ebm {

namespace {

constexpr const char* kGibbsWithGradients = "gibbs_with_gradients";

/// A change of one site that moves on by 1 ... K - 1 states, in tensor operations: any number of states and precision.
class AnyChange final : public detail::OneChange {
 public:
  /// Throws where the energy or the score is not finite.
  AnyChange(const Energy& energy, detail::ChainRun& chains, const detail::DiscreteSites& sites,
            const at::Tensor& clamp)
      : chains_(chains),
        sites_(sites),
        clamp_(clamp),
        points_(kGibbsWithGradients, energy, chains, sites),
        current_(points_.start()) {}

  detail::Proposal propose(const at::Tensor& uniform) override {
    const int64_t n_others = sites_.n_states() - 1;
    const at::Tensor forward = log_proposal(current_);
    const at::Tensor change = detail::draw_index(forward, uniform).unsqueeze(1);
    const at::Tensor site = change.floor_divide(n_others);
    const at::Tensor moved_on = change.remainder(n_others) + 1;
    const at::Tensor state =
        (current_.labels.gather(1, site) + moved_on).remainder(sites_.n_states());
    proposed_ = points_.at(current_.labels.scatter(1, site, state));
    // The reverse move goes on by the rest of a full turn.
    const at::Tensor back = site * n_others + (n_others - moved_on);
    const at::Tensor log_ratio =
        current_.energy - proposed_.energy +
        (log_proposal(proposed_).gather(1, back) - forward.gather(1, change)).squeeze(1);
    return {proposed_.energy, proposed_.with_a_way_back(log_ratio)};
  }

  void choose(const detail::Decision& decision) override {
    current_ = proposed_.chosen_over(current_, decision);
    chains_.x = sites_.states(current_.labels);
    chains_.energy = current_.energy;
  }

 private:
  /// Log probabilities of proposing each change, (N, S (K - 1)): `change / (K - 1)` is the site, `change % (K - 1)` +
  /// 1 by how many states it moves on.
  at::Tensor log_proposal(const detail::DiscretePoint& point) const {
    if (!clamp_.defined()) return at::log_softmax(point.changes.flatten(1) / 2, 1);
    constexpr double kNeverProposed = -1e300;
    const at::Tensor changes = point.changes.masked_fill(clamp_.unsqueeze(2), kNeverProposed);
    return at::log_softmax(changes.flatten(1) / 2, 1);
  }

  detail::ChainRun& chains_;
  const detail::DiscreteSites& sites_;
  at::Tensor clamp_;  // (N, S), undefined if all sites may change
  const detail::DiscreteEnergy points_;
  detail::DiscretePoint current_;
  detail::DiscretePoint proposed_;
};

std::unique_ptr<detail::OneChange> make_change(const Energy& energy, detail::ChainRun& chains,
                                               const detail::DiscreteSites& sites,
                                               const at::Tensor& clamp) {
  if (detail::are_flips(sites, chains.x)) {
    return std::make_unique<detail::BinaryFlips>(kGibbsWithGradients, energy, chains, clamp);
  }
  return std::make_unique<AnyChange>(energy, chains, sites, clamp);
}

/// Which sites keep their state, (N, S); undefined if none does.
at::Tensor clamped_sites(const at::Tensor& x, const detail::DiscreteSites& layout,
                         const GibbsWithGradientsOptions& options) {
  const at::Tensor sites = layout.categorical() ? x.select(-1, 0) : x;
  const auto clamp = detail::checked_clamp(kGibbsWithGradients, options.clamp, sites);
  return clamp ? clamp->reshape({x.size(0), -1}).contiguous() : at::Tensor();
}

/// What an energy's own sampler returned, if it keeps to the contract.
std::optional<Samples> run_own(const Energy& energy, detail::ChainRun& chains,
                               const RunOptions& run) {
  return detail::run_own_steps(chains, run, [&](const at::Tensor& x, const RunOptions& call) {
    auto result = energy.gibbs_with_gradients(x, call);
    if (result) {
      detail::check_binary(kGibbsWithGradients, "what the energy's gibbs_with_gradients returns",
                           std::get<0>(*result));
    }
    return result;
  });
}

detail::SamplesTuple gibbs_with_gradients_op(const c10::IValue& energy, const at::Tensor& x,
                                             const std::optional<at::Tensor>& clamp,
                                             std::optional<bool> categorical, int64_t n_steps,
                                             const std::optional<at::Tensor>& beta, int64_t thin,
                                             bool inplace, std::optional<at::Generator> generator) {
  return detail::as_tuple(gibbs_with_gradients(Energy::from_ivalue(kGibbsWithGradients, energy), x,
                                               {n_steps, beta, thin, inplace, std::move(generator)},
                                               {categorical, clamp}));
}

}  // namespace

Samples gibbs_with_gradients(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                             const GibbsWithGradientsOptions& options) {
  detail::ChainRun chains(kGibbsWithGradients, x, run);
  const detail::DiscreteSites sites(kGibbsWithGradients, chains.x, options.categorical);
  const at::Tensor clamp = clamped_sites(chains.x, sites, options);
  if (!sites.categorical() && !clamp.defined()) {
    if (auto samples = run_own(energy, chains, run)) return *std::move(samples);
  }
  const auto change = make_change(energy, chains, sites, clamp);
  // Where every site is clamped, something is proposed nevertheless.
  const at::Tensor frozen = clamp.defined() ? clamp.all(1) : at::Tensor();

  return chains.run([&](int64_t) {
    detail::Proposal proposal = change->propose(chains.uniform(detail::kChoice));
    if (frozen.defined()) proposal.log_ratio = proposal.log_ratio.masked_fill(frozen, -INFINITY);
    const auto decision =
        detail::metropolis(proposal.log_ratio, proposal.energy, chains.uniform(detail::kAccept));
    change->choose(decision);
    return decision.probability;
  });
}

TORCH_EBM_DRIVER("gibbs_with_gradients", &gibbs_with_gradients_op)

}  // namespace torch_ebm
