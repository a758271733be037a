#include "torch_ebm/learning/training_monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"

namespace torch_ebm {

namespace {

// The limits, and how often they are right: benchmarks/training_monitor.py.
constexpr double kExplodedGap = 3;     // in standard deviations of the energies of the data
constexpr double kLeastGap = 10;       // in nats
constexpr double kGapOfRootUnits = 3;  // in nats, times the square root of the number of units
constexpr double kShifted = 1;         // in standard deviations of the energies of the data
constexpr double kFrozen = 0.01;       // fraction of chains that moved in an update
constexpr double kCollapsed = 0.05;    // variance across chains over variance across data
constexpr double kRanAway = 100;       // the same
constexpr double kAtEdge = 0.25;       // fraction of the numbers in negative samples
constexpr double kLeastNumbers = 20;   // in negative samples, for edges to mean anything
constexpr double kConstant = 1e-6;     // difference of energies over their size
constexpr double kMemory = 0.95;       // weight of an update relative to the next one

void check_energies_shape(const char* name, const at::Tensor& energies) {
  TORCH_CHECK_VALUE(energies.defined() && energies.dim() == 1 && energies.numel() > 0,
                    "TrainingMonitor: ", name, " must have shape (N,), N >= 1");
}

void check_energies_finite(const char* item, const at::Tensor& energies, int64_t update) {
  const at::Tensor bad = at::isfinite(energies).logical_not();
  if (!bad.any().item<bool>()) return;
  const int64_t first = bad.nonzero()[0][0].item<int64_t>();
  TORCH_CHECK(
      false,
      fmt::format("TrainingMonitor: the energy of {} {} is {} at update {} ({} of {} are not "
                  "finite). Likely the parameters diverged: the learning rate is too large for "
                  "this model, or the energy overflows. Go back to the last checkpoint with a "
                  "smaller learning rate, or add weight decay.",
                  item, first, energies[first].item<double>(), update, bad.sum().item<int64_t>(),
                  energies.numel()));
}

at::Tensor standard_deviation(const at::Tensor& energies) {
  return energies.numel() > 1 ? energies.std() : at::zeros({}, energies.options());
}

/// The states (N, ...) as floating rows (N, M).
at::Tensor as_rows(const at::Tensor& x) {
  const at::Tensor rows = x.reshape({x.size(0), -1});
  return rows.is_floating_point() && rows.element_size() >= 4 ? rows : rows.to(at::kDouble);
}

/// The fraction of chains that differ from their start.
at::Tensor moved_fraction(const at::Tensor& negative, const at::Tensor& start) {
  // Several times faster than ne().any(1), which torch does not vectorise.
  const at::Tensor farthest = (as_rows(negative) - as_rows(start)).abs().amax(1);
  return farthest.ne(0).to(at::kDouble).mean();
}

/// Variance across the batch, averaged over the units.
at::Tensor batch_variance(const at::Tensor& x) {
  const at::Tensor rows = as_rows(x);
  // Two passes over contiguous memory, where var(0) would stride. Shifted by one state, so that a
  // large mean loses no digits.
  const at::Tensor shifted = rows - rows[0];
  return (shifted.square().mean() - shifted.mean(0).square().mean()).to(at::kDouble);
}

/// The fraction of the numbers that equal the largest or the smallest of all, as those at a clamp do.
at::Tensor fraction_at_edges(const at::Tensor& x) {
  const auto [low, high] = x.aminmax();
  const at::Tensor at_edge = x.eq(low).logical_or(x.eq(high)).to(at::kDouble).mean();
  return at::where(low.eq(high), at::zeros_like(at_edge), at_edge);  // collapsed, not at a clamp
}

}  // namespace

void TrainingMonitor::update(const at::Tensor& positive_energies,
                             const at::Tensor& negative_energies, const at::Tensor& positive,
                             const at::Tensor& negative, const at::Tensor& start) {
  const at::NoGradGuard no_grad;
  const int64_t update = updates_ + 1;
  check_energies_shape("positive_energies", positive_energies);
  check_energies_shape("negative_energies", negative_energies);
  const at::Tensor on_data = positive_energies.detach().to(at::kDouble);
  const at::Tensor on_chains = negative_energies.detach().to(at::kDouble);
  detail::check_chains("TrainingMonitor", "positive", positive);
  detail::check_chains("TrainingMonitor", "negative", negative);
  TORCH_CHECK_VALUE(start.sizes() == negative.sizes(),
                    "TrainingMonitor: start must have the shape of "
                    "negative, ",
                    detail::describe_shape(negative.sizes()), ", got ",
                    detail::describe_shape(start.sizes()));
  // One transfer for all numbers: each would make a GPU wait.
  const at::Tensor numbers =
      at::stack({on_data.mean(), on_chains.mean(), standard_deviation(on_data),
                 standard_deviation(on_chains), moved_fraction(negative, start),
                 batch_variance(negative), batch_variance(positive), fraction_at_edges(negative),
                 fraction_at_edges(positive)})
          .cpu();
  const double* const number = numbers.const_data_ptr<double>();
  if (!std::isfinite(number[0] + number[1])) {
    check_energies_finite("example", on_data, update);
    check_energies_finite("chain", on_chains, update);
  }
  updates_ = update;
  if (epoch_is_over_) sums_ = Sums();
  epoch_is_over_ = false;
  const double gap = number[1] - number[0];
  const double size = std::max(std::abs(number[0]), std::abs(number[1]));
  const double units = static_cast<double>(positive.numel()) / positive.size(0);
  const double least_batch = static_cast<double>(std::min(on_data.numel(), on_chains.numel()));
  sums_.add(
      {.count = 1,
       .gap = gap,
       .absolute_gap = std::abs(gap),
       .spread = number[2] > 0 ? number[2] : number[3],
       .moved = number[4],
       .chain_variance = number[5],
       .data_variance = number[6],
       .chains_at_edge = static_cast<double>(negative.numel()) < kLeastNumbers ? 0 : number[7],
       .data_at_edge = number[8],
       .differences = std::max({number[2], number[3], std::abs(gap)}) / std::max(1.0, size),
       .root_units = std::sqrt(units),
       .noise = 4 / std::sqrt(least_batch)});
}

void TrainingMonitor::Sums::add(const Sums& update) {
  double* const sum = numbers();
  for (int64_t i = 0; i < kSize; ++i) sum[i] = kMemory * sum[i] + update.numbers()[i];
}

c10::Dict<std::string, double> TrainingMonitor::measures() const {
  c10::Dict<std::string, double> named;
  const auto mean = [&](double sum) { return sum / sums_.count; };
  named.insert("updates", static_cast<double>(updates_));
  named.insert("gap", mean(sums_.gap));
  named.insert("absolute_gap", mean(sums_.absolute_gap));
  named.insert("spread", mean(sums_.spread));
  named.insert("moved", mean(sums_.moved));
  named.insert("variance_ratio", sums_.chain_variance / sums_.data_variance);
  named.insert("chains_at_edge", mean(sums_.chains_at_edge));
  named.insert("data_at_edge", mean(sums_.data_at_edge));
  return named;
}

std::vector<std::string> TrainingMonitor::end_epoch() {
  if (epoch_is_over_ || sums_.count == 0) return {};
  epoch_is_over_ = true;
  std::vector<std::string> warnings;
  const double gap = sums_.absolute_gap / sums_.count;
  const double spread = sums_.spread / sums_.count;
  const double least_gap = std::max(kLeastGap, kGapOfRootUnits * sums_.root_units / sums_.count);
  const double shifted = std::max(kShifted, sums_.noise / sums_.count);
  const double moved = sums_.moved / sums_.count;
  const double variance_ratio = sums_.chain_variance / sums_.data_variance;
  const double at_edge = sums_.chains_at_edge / sums_.count;
  if (gap > kExplodedGap * spread && gap > least_gap) {
    warnings.push_back(fmt::format(
        "The energy gap exploded: data and negative samples differ by {:.3g} in energy, {:.3g} "
        "standard deviations of the data's energies (limits {:.3g} and {:g}). Likely the chains "
        "cannot follow the model: lower the learning rate or take more steps for each gradient.",
        gap, gap / spread, least_gap, kExplodedGap));
  } else if (gap > shifted * spread && std::abs(sums_.gap) < sums_.absolute_gap / 2) {
    warnings.push_back(fmt::format(
        "The energy gap swings from side to side: by {:.3g}, {:.3g} standard deviations of the "
        "data's energies (limit {:g}), with a mean of {:.3g}. Likely the learning rate is too "
        "large, or the momentum.",
        gap, gap / spread, shifted, sums_.gap / sums_.count));
  } else if (sums_.gap < -shifted * sums_.spread) {
    warnings.push_back(fmt::format(
        "The negative samples lie {:.3g} lower in energy than the data, {:.3g} standard deviations "
        "of the data's energies (limit {:g}): the model puts its weight where no data are. Likely "
        "the chains cannot follow the model: lower the learning rate or the momentum, or take more "
        "steps for each gradient.",
        gap, gap / spread, shifted));
  }
  if (sums_.differences / sums_.count < kConstant && sums_.count > 2) {
    warnings.push_back(fmt::format(
        "The energy is the same for all data and negative samples, to {:.1g} of its size (limit "
        "{:g}): there is no gradient to learn from. Likely its units are dead or saturated: "
        "restart with other initial parameters, a smaller learning rate, or normalised data.",
        sums_.differences / sums_.count, kConstant));
  }
  if (moved < kFrozen) {
    warnings.push_back(fmt::format(
        "The chains are frozen: {:.2g} of them moved in an update (limit {:g}). Likely the energy "
        "grew so steep that no proposal is accepted: lower the learning rate, add weight decay, or "
        "restart the chains.",
        moved, kFrozen));
  }
  if (variance_ratio < kCollapsed) {
    warnings.push_back(fmt::format(
        "The chains collapsed: they vary {:.2g} times as much as the data (limit {:g}). Likely all "
        "of them fell into one mode: restart them, take more steps for each gradient, or lower the "
        "learning rate.",
        variance_ratio, kCollapsed));
  }
  if (variance_ratio > kRanAway) {
    warnings.push_back(fmt::format(
        "The chains ran away: they vary {:.3g} times as much as the data (limit {:g}). Likely the "
        "energy falls without end somewhere: confine it, bound the chains, or lower the learning "
        "rate and restart them.",
        variance_ratio, kRanAway));
  }
  if (at_edge > kAtEdge && at_edge > 2 * sums_.data_at_edge / sums_.count) {
    warnings.push_back(fmt::format(
        "The chains are stuck at their bounds: {:.2g} of their numbers are the largest or the "
        "smallest one (limit {:g}). Likely the steps are too large for these bounds, or the energy "
        "falls towards them: take smaller steps, or lower the learning rate.",
        at_edge, kAtEdge));
  }
  return warnings;
}

std::vector<double> TrainingMonitor::state() const {
  std::vector<double> state{static_cast<double>(updates_), epoch_is_over_ ? 1.0 : 0.0};
  state.insert(state.end(), sums_.numbers(), sums_.numbers() + Sums::kSize);
  return state;
}

void TrainingMonitor::set_state(const std::vector<double>& state) {
  TORCH_CHECK_VALUE(state.size() == 2 + Sums::kSize, "TrainingMonitor: state must hold ",
                    2 + Sums::kSize, " numbers, got ", state.size());
  updates_ = static_cast<int64_t>(state[0]);
  epoch_is_over_ = state[1] != 0;
  std::copy(state.begin() + 2, state.end(), sums_.numbers());
}

}  // namespace torch_ebm
