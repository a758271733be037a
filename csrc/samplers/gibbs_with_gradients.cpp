#include "torch_ebm/gibbs_with_gradients.h"

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/discrete.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "gibbs_with_gradients";

/// Log probabilities of proposing each change, (N, S (K - 1)): `change / (K - 1)` is the site, `change % (K - 1)` + 1 by
/// how many states it moves on.
at::Tensor log_proposal(const detail::DiscretePoint& point) {
  return at::log_softmax(point.changes.flatten(1) / 2, 1);
}

/// What an energy's own sampler returned, if it keeps to the contract.
std::optional<Samples> run_own(const Energy& energy, detail::ChainRun& chains,
                               const RunOptions& run) {
  return detail::run_own_steps(chains, run, [&](const at::Tensor& x, const RunOptions& call) {
    auto result = energy.gibbs_with_gradients(x, call);
    if (result) {
      detail::check_binary(kOp, "what the energy's gibbs_with_gradients returns",
                           std::get<0>(*result));
    }
    return result;
  });
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gibbs_with_gradients_op(
    const c10::IValue& energy, const at::Tensor& x, bool categorical, int64_t n_steps,
    const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
    std::optional<at::Generator> generator) {
  return detail::as_tuple(gibbs_with_gradients(Energy::from_ivalue(kOp, energy), x,
                                               {n_steps, beta, thin, inplace, std::move(generator)},
                                               {categorical}));
}

}  // namespace

Samples gibbs_with_gradients(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                             const GibbsWithGradientsOptions& options) {
  detail::ChainRun chains(kOp, x, run);
  const detail::DiscreteSites sites(kOp, chains.x, options.categorical);
  if (!options.categorical) {
    if (auto samples = run_own(energy, chains, run)) return *std::move(samples);
  }
  const int64_t n_others = sites.n_states() - 1;
  const detail::DiscreteEnergy points(kOp, energy, chains, sites);
  detail::DiscretePoint current = points.start();

  return chains.run([&](int64_t) {
    const at::Tensor forward = log_proposal(current);
    const at::Tensor change =
        detail::draw_index(forward, chains.uniform(detail::kChoice)).unsqueeze(1);
    const at::Tensor site = change.floor_divide(n_others);
    const at::Tensor moved_on = change.remainder(n_others) + 1;
    const at::Tensor state =
        (current.labels.gather(1, site) + moved_on).remainder(sites.n_states());
    const detail::DiscretePoint proposal = points.at(current.labels.scatter(1, site, state));
    // Back: on by the states that are left of a full turn.
    const at::Tensor back = site * n_others + (n_others - moved_on);
    const at::Tensor log_ratio =
        current.energy - proposal.energy +
        (log_proposal(proposal).gather(1, back) - forward.gather(1, change)).squeeze(1);
    const auto decision =
        detail::metropolis(log_ratio, proposal.energy, chains.uniform(detail::kAccept));
    current = proposal.chosen_over(current, decision);
    chains.x = sites.states(current.labels);
    return decision.probability;
  });
}

TORCH_EBM_DRIVER("gibbs_with_gradients", &gibbs_with_gradients_op)

}  // namespace torch_ebm
