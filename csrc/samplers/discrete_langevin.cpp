#include "torch_ebm/samplers/discrete_langevin.h"

#include <memory>

#include "csrc/common/operator.h"
#include "csrc/passes/flips.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/discrete.h"
#include "csrc/samplers/one_change.h"

namespace torch_ebm {

namespace {

constexpr const char* kDiscreteLangevin = "discrete_langevin";

/// Chains of which a step moves every site, with what is known where they are.
class AllSites {
 public:
  virtual ~AllSites() = default;

  /// Proposes new states to every chain. `penalty`, () or (N,), float64: half the squared distance of two states of a
  /// site over the step size.
  virtual detail::Proposal propose(const at::Tensor& penalty) = 0;
  /// Changes the chains that accepted the last proposal.
  virtual void choose(const detail::Decision& decision) = 0;
  /// Moves every chain to new states, without rejections.
  virtual void move(const at::Tensor& penalty, int64_t step) = 0;
};

/// Any number of states and precision, in tensor operations.
class AnySites final : public AllSites {
 public:
  AnySites(const Energy& energy, detail::ChainRun& chains, const detail::DiscreteSites& sites)
      : chains_(chains),
        sites_(sites),
        points_(kDiscreteLangevin, energy, chains, sites),
        current_(points_.start()) {}

  detail::Proposal propose(const at::Tensor& penalty) override {
    const int64_t n_states = sites_.n_states();
    const at::Tensor forward = log_proposal(current_, penalty);
    const at::Tensor moved_on = draw(forward);
    const at::Tensor back = (n_states - moved_on).remainder(n_states);
    const at::Tensor log_ratio = current_.energy - proposed_.energy +
                                 log_probability(log_proposal(proposed_, penalty), back) -
                                 log_probability(forward, moved_on);
    return {proposed_.energy, proposed_.with_a_way_back(log_ratio)};
  }

  void choose(const detail::Decision& decision) override {
    move_to(proposed_.chosen_over(current_, decision));
  }

  void move(const at::Tensor& penalty, int64_t step) override {
    draw(log_proposal(current_, penalty));
    chains_.check_finite("energy", proposed_.energy, step + 1);
    chains_.check_finite("score", proposed_.changes, step + 1);
    move_to(proposed_);
  }

 private:
  /// Log probabilities of every site to move on by 0 ... K - 1 states, (N, S, K), float64.
  static at::Tensor log_proposal(const detail::DiscretePoint& point, const at::Tensor& penalty) {
    const at::Tensor leave = point.changes / 2 - detail::per_chain(penalty, point.changes);
    const at::Tensor stay = at::zeros_like(leave.narrow(2, 0, 1));
    return at::log_softmax(at::cat({stay, leave}, 2), 2);
  }

  /// log q of the moves (N, S) of all sites, (N,).
  static at::Tensor log_probability(const at::Tensor& log_proposal, const at::Tensor& moved_on) {
    return log_proposal.gather(2, moved_on.unsqueeze(2)).sum(at::IntArrayRef{1, 2});
  }

  /// Draws the proposal; returns by how many states each site moves on.
  at::Tensor draw(const at::Tensor& forward) {
    const at::Tensor uniform =
        passes::uniform_like(current_.labels.to(at::kDouble), chains_.draw(detail::kSite));
    const at::Tensor moved_on = detail::draw_index(forward, uniform);
    proposed_ = points_.at((current_.labels + moved_on).remainder(sites_.n_states()));
    return moved_on;
  }

  void move_to(const detail::DiscretePoint& point) {
    current_ = point;
    chains_.x = chains_.unless_noted(sites_.states(current_.labels));
    chains_.energy = current_.energy;
  }

  detail::ChainRun& chains_;
  const detail::DiscreteSites& sites_;
  const detail::DiscreteEnergy points_;
  detail::DiscretePoint current_;
  detail::DiscretePoint proposed_;
};

/// Binary chains in float or double: one pass over states and score proposes, and
/// one of each direction, where proposals can be rejected, sums log probabilities.
class BinarySites final : public AllSites {
 public:
  BinarySites(const Energy& energy, detail::ChainRun& chains)
      : energy_(energy), chains_(chains), current_(at(chains.x.clone())) {
    detail::check_chains_finite(kDiscreteLangevin, "energy", current_.energy, 0);
    detail::check_chains_finite(kDiscreteLangevin, "score", current_.score, 0);
  }

  detail::Proposal propose(const at::Tensor& penalty) override {
    draw(penalty);
    const at::Tensor forward =
        passes::flip_all_log_probability(chains_.x, current_.score, penalty, next_);
    const at::Tensor back =
        passes::flip_all_log_probability(next_, proposed_.score, penalty, chains_.x);
    return {proposed_.energy, current_.energy - proposed_.energy + (back - forward)};
  }

  void choose(const detail::Decision& decision) override {
    current_ = {at::where(decision.accepted, proposed_.energy, current_.energy),
                decision.choose(std::move(proposed_.score), current_.score)};
    chains_.x = decision.choose(std::move(next_), chains_.x);
    chains_.energy = current_.energy;
  }

  void move(const at::Tensor& penalty, int64_t step) override {
    draw(penalty);
    chains_.check_finite("energy", proposed_.energy, step + 1);
    chains_.check_finite("score", proposed_.score, step + 1);
    current_ = std::move(proposed_);
    chains_.x = chains_.unless_noted(next_);
    chains_.energy = current_.energy;
  }

 private:
  struct Point {
    at::Tensor energy;  // (N,), float64, tempered
    at::Tensor score;   // (N, S), tempered, contiguous
  };

  Point at(const at::Tensor& x) const {
    const auto [energy, score] = energy_.value_and_score(x, chains_.beta);
    return {energy.to(at::kDouble), score.to(x.options()).reshape({x.size(0), -1}).contiguous()};
  }

  void draw(const at::Tensor& penalty) {
    next_ = passes::flip_all(chains_.x, current_.score, penalty, chains_.draw(detail::kSite));
    proposed_ = at(next_);
  }

  const Energy& energy_;
  detail::ChainRun& chains_;
  Point current_;
  Point proposed_;
  at::Tensor next_;
};

std::unique_ptr<AllSites> make_sites(const Energy& energy, detail::ChainRun& chains,
                                     const detail::DiscreteSites& sites) {
  if (detail::are_flips(sites, chains.x)) {
    return std::make_unique<BinarySites>(energy, chains);
  }
  return std::make_unique<AnySites>(energy, chains, sites);
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
  const auto all_sites = make_sites(energy, chains, sites);
  const double squared_distance = sites.categorical() ? 2 : 1;  // of two states of a site

  return chains.run([&](int64_t step) {
    const at::Tensor penalty = squared_distance / (2 * options.step_size.at(step));
    if (!options.metropolis) {
      all_sites->move(penalty, step);
      return at::Tensor();
    }
    const detail::Proposal proposal = all_sites->propose(penalty);
    const auto decision =
        detail::metropolis(proposal.log_ratio, proposal.energy, chains.uniform(detail::kAccept));
    all_sites->choose(decision);
    return decision.probability;
  });
}

TORCH_EBM_DRIVER("discrete_langevin", &discrete_langevin_op)

}  // namespace torch_ebm
