#include "torch_ebm/discrete_langevin.h"

#include "csrc/common/operator.h"
#include "csrc/samplers/discrete.h"

namespace torch_ebm {

namespace {

constexpr const char* kDiscreteLangevin = "discrete_langevin";

/// Log probabilities of every site to move on by 0 ... K - 1 states, (N, S, K), float64.
at::Tensor log_proposal(const detail::DiscretePoint& point, const at::Tensor& penalty) {
  const at::Tensor leave = point.changes / 2 - detail::per_chain(penalty, point.changes);
  const at::Tensor stay = at::zeros_like(leave.narrow(2, 0, 1));
  return at::log_softmax(at::cat({stay, leave}, 2), 2);
}

/// log q of the moves (N, S) of all sites, (N,).
at::Tensor log_probability(const at::Tensor& log_proposal, const at::Tensor& moved_on) {
  return log_proposal.gather(2, moved_on.unsqueeze(2)).sum(at::IntArrayRef{1, 2});
}

detail::SamplesTuple discrete_langevin_op(const c10::IValue& energy, const at::Tensor& x,
                                          const c10::IValue& step_size, bool metropolis,
                                          std::optional<bool> categorical, int64_t n_steps,
                                          const std::optional<at::Tensor>& beta, int64_t thin,
                                          bool inplace, std::optional<at::Generator> generator) {
  return detail::as_tuple(discrete_langevin(
      Energy::from_ivalue(kDiscreteLangevin, energy), x,
      {n_steps, beta, thin, inplace, std::move(generator)},
      {StepSize::from_ivalue(kDiscreteLangevin, step_size), metropolis, categorical}));
}

}  // namespace

Samples discrete_langevin(const Energy& energy, const at::Tensor& x, const RunOptions& run,
                          const DiscreteLangevinOptions& options) {
  detail::ChainRun chains(kDiscreteLangevin, x, run);
  const detail::DiscreteSites sites(kDiscreteLangevin, chains.x, options.categorical);
  options.step_size.check(kDiscreteLangevin, chains.n_chains(), run.n_steps);
  const detail::DiscreteEnergy points(kDiscreteLangevin, energy, chains, sites);
  detail::DiscretePoint current = points.start();
  const double squared_distance = sites.categorical() ? 2 : 1;  // of two states of a site

  const auto move_to = [&](detail::DiscretePoint point) {
    current = std::move(point);
    chains.x = sites.states(current.labels);
    chains.energy = current.energy;
  };

  return chains.run([&](int64_t step) {
    const at::Tensor penalty = squared_distance / (2 * options.step_size.at(step));
    const at::Tensor forward = log_proposal(current, penalty);
    const at::Tensor uniform =
        detail::uniform_like(current.labels.to(at::kDouble), chains.draw(detail::kSite));
    const at::Tensor moved_on = detail::draw_index(forward, uniform);
    const int64_t n_states = sites.n_states();
    const detail::DiscretePoint proposal =
        points.at((current.labels + moved_on).remainder(n_states));
    if (!options.metropolis) {
      points.check_finite(proposal, step + 1);
      move_to(proposal);
      return at::Tensor();
    }
    const at::Tensor back = (n_states - moved_on).remainder(n_states);
    const at::Tensor log_ratio = current.energy - proposal.energy +
                                 log_probability(log_proposal(proposal, penalty), back) -
                                 log_probability(forward, moved_on);
    const auto decision = detail::metropolis(proposal.with_a_way_back(log_ratio), proposal.energy,
                                             chains.uniform(detail::kAccept));
    move_to(proposal.chosen_over(current, decision));
    return decision.probability;
  });
}

TORCH_EBM_DRIVER("discrete_langevin", &discrete_langevin_op)

}  // namespace torch_ebm
