#include "torch_ebm/training_monitor.h"

#include <fmt/format.h>

#include <cmath>

#include "csrc/common/checks.h"

namespace torch_ebm {

namespace {

constexpr double kExplodedGap = 3;   // in standard deviations of the energies
constexpr double kFrozen = 0.01;     // fraction of chains that moved in an update
constexpr double kCollapsed = 0.05;  // variance across chains over variance across data

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
                 batch_variance(negative), batch_variance(positive)})
          .cpu();
  const double* const number = numbers.const_data_ptr<double>();
  if (!std::isfinite(number[0] + number[1])) {
    check_energies_finite("example", on_data, update);
    check_energies_finite("chain", on_chains, update);
  }
  updates_ = update;
  epoch_updates_ += 1;
  gap_ += std::abs(number[1] - number[0]);  // swings of opposite sign must not cancel
  spread_ += std::hypot(number[2], number[3]);
  moved_ += number[4];
  chain_variance_ += number[5];
  data_variance_ += number[6];
}

std::vector<std::string> TrainingMonitor::end_epoch() {
  std::vector<std::string> warnings;
  if (epoch_updates_ > 0) {
    const double gap = gap_ / epoch_updates_;
    const double spread = spread_ / epoch_updates_;
    const double moved = moved_ / epoch_updates_;
    if (gap > kExplodedGap * spread) {
      warnings.push_back(fmt::format(
          "The energy gap exploded: data and negative samples differ by {:.3g} in energy, {:.3g} "
          "standard deviations (limit {:g}). Likely the chains cannot follow the model: lower the "
          "learning rate or take more steps for each gradient.",
          gap, gap / spread, kExplodedGap));
    }
    if (moved < kFrozen) {
      warnings.push_back(
          fmt::format("The chains are frozen: {:.2g} of them moved in an update (limit {:g}). "
                      "Likely the energy "
                      "grew so steep that no proposal is accepted: lower the learning rate, add "
                      "weight decay, or "
                      "restart the chains.",
                      moved, kFrozen));
    }
    if (chain_variance_ < kCollapsed * data_variance_) {
      warnings.push_back(
          fmt::format("The chains collapsed: they vary {:.2g} times as much as the data (limit "
                      "{:g}). Likely all "
                      "of them fell into one mode: restart them, take more steps for each "
                      "gradient, or lower the "
                      "learning rate.",
                      chain_variance_ / data_variance_, kCollapsed));
    }
  }
  epoch_updates_ = gap_ = spread_ = moved_ = chain_variance_ = data_variance_ = 0;
  return warnings;
}

std::vector<double> TrainingMonitor::state() const {
  return {static_cast<double>(updates_),
          epoch_updates_,
          gap_,
          spread_,
          moved_,
          chain_variance_,
          data_variance_};
}

void TrainingMonitor::set_state(const std::vector<double>& state) {
  TORCH_CHECK_VALUE(state.size() == 7, "TrainingMonitor: state must hold 7 numbers, got ",
                    state.size());
  updates_ = static_cast<int64_t>(state[0]);
  epoch_updates_ = state[1];
  gap_ = state[2];
  spread_ = state[3];
  moved_ = state[4];
  chain_variance_ = state[5];
  data_variance_ = state[6];
}

}  // namespace torch_ebm
