#include "csrc/samplers/discrete.h"

#include <cmath>
#include <limits>

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

namespace {

/// Whether binary states x, (N, sites..., K), are so surely one-hot in their last dimension that it is no accident:
/// fair bits would be so with a probability below 1e-6.
bool is_surely_one_hot(const at::Tensor& x) {
  constexpr double kLeastEvidence = 14;  // 1e-6, as a natural logarithm
  if (x.dim() < 3 || x.size(-1) < 2 || !has_values(x)) return false;
  const auto n_states = static_cast<double>(x.size(-1));
  const double evidence =
      static_cast<double>(x.numel() / x.size(-1)) * (n_states * std::log(2.0) - std::log(n_states));
  return evidence > kLeastEvidence && x.sum(-1).eq(1).all().item<bool>();
}

}  // namespace

DiscreteSites::DiscreteSites(const char* op, const at::Tensor& x, std::optional<bool> categorical)
    : categorical_(categorical.value_or(false)),
      n_states_(categorical_ ? x.size(-1) : 2),
      n_sites_(x.numel() / x.size(0) / width()),
      shape_(x.sizes().vec()),
      options_(x.options()) {
  check_binary(op, "x", x);
  if (categorical_) check_one_hot(op, "x", x);
  TORCH_CHECK_VALUE(categorical || !is_surely_one_hot(x), op,
                    ": x is one-hot in its last dimension; say which it is: categorical=True for "
                    "sites of ",
                    x.size(-1), " states, or categorical=False for binary units");
}

at::Tensor DiscreteSites::encode(const at::Tensor& labels) const {
  const at::Tensor index = labels.to(options_.device()).unsqueeze(2);
  if (!categorical_) return index.to(options_);
  const auto one_hot = at::zeros({labels.size(0), labels.size(1), n_states_}, options_);
  return one_hot.scatter(2, index, 1);
}

at::Tensor DiscreteSites::labels(const at::Tensor& x) const {
  const at::Tensor sites = x.view({-1, n_sites_, width()});
  return categorical_ ? sites.argmax(2) : sites.squeeze(2).to(at::kLong);
}

at::Tensor DiscreteSites::changes(const at::Tensor& labels, const at::Tensor& score) const {
  const at::Tensor slope = score.reshape({-1, n_sites_, width()}).to(at::kDouble);
  const at::Tensor state = labels.unsqueeze(2);
  if (!categorical_) return slope * (1 - 2 * state);
  const at::Tensor others = state + at::arange(1, n_states_, state.options());
  return slope.gather(2, others.remainder(n_states_)) - slope.gather(2, state);
}

bool are_flips(const DiscreteSites& sites, const at::Tensor& x) {
  return !sites.categorical() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

DiscretePoint DiscretePoint::chosen_over(const DiscretePoint& current,
                                         const Decision& decision) const {
  return {decision.choose(labels, current.labels),
          at::where(decision.accepted, energy, current.energy),
          decision.choose(changes, current.changes)};
}

at::Tensor DiscretePoint::with_a_way_back(const at::Tensor& log_ratio) const {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  return at::where(at::isfinite(changes.flatten(1)).all(1), log_ratio, kNaN);
}

DiscretePoint DiscreteEnergy::at(const at::Tensor& labels) const {
  const auto [energy, score] = energy_.value_and_score(sites_.states(labels), chains_.beta);
  return {labels, energy.to(at::kDouble), sites_.changes(labels, score)};
}

DiscretePoint DiscreteEnergy::start() const {
  const DiscretePoint point = at(sites_.labels(chains_.x));
  check_chains_finite(op_, "energy", point.energy, 0);
  check_chains_finite(op_, "score", point.changes, 0);
  return point;
}

at::Tensor draw_index(const at::Tensor& log_weights, const at::Tensor& uniform) {
  const at::Tensor sums = (log_weights - log_weights.amax(-1, /*keepdim=*/true)).exp().cumsum(-1);
  return sums.le(uniform.unsqueeze(-1) * sums.narrow(-1, sums.size(-1) - 1, 1)).sum(-1);
}

std::optional<Samples> run_own_steps(ChainRun& chains, const RunOptions& run,
                                     const OwnSteps& own_steps) {
  RunOptions call = run;
  if (run.thin > 0) call.n_steps = 1;
  const auto first = own_steps(chains.x, call);
  if (!first) return std::nullopt;
  if (run.thin == 0) return chains.finished(std::get<0>(*first), std::get<1>(*first));
  return chains.run([&](int64_t step) {
    const auto [states, acceptance] = step == 0 ? *first : own_steps(chains.x, call).value();
    chains.x = states;
    return acceptance;
  });
}

}  // namespace torch_ebm::detail
