#include "torch_ebm/partition/tracking/log_z_tracker.h"

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/bridging/bridge.h"
#include "csrc/partition/log_z_estimate.h"
#include "csrc/partition/tracking/log_z_filter.h"
#include "csrc/samplers/ladder.h"

namespace torch_ebm {

namespace {

using detail::LogZFilter;
using detail::PairedBridges;

constexpr const char* kTrackLogZ = "track_log_z";
constexpr double kFarOff = 5;  // standard errors

/// The whole state, as the operators pass it.
struct Track {
  static constexpr const char* kNames[] = {"n_updates",  "mean",   "covariance", "deviations",
                                           "anchored",   "chains", "energies",   "log_z_base",
                                           "innovation", "ess"};
  static constexpr size_t kSize = std::size(kNames);

  at::Tensor n_updates;   // (), int64
  LogZFilter filter;      // mean, covariance, deviations, anchored
  at::Tensor chains;      // of the last update, (R, N, ...)
  at::Tensor energies;    // theirs at their own rungs, (R, N)
  at::Tensor log_z_base;  // ()
  at::Tensor innovation;  // of the last update, in standard errors, (R - 1,)
  at::Tensor ess;         // ()

  std::vector<at::Tensor> list() const {
    return {n_updates, filter.mean, filter.covariance, filter.deviations, filter.anchored,
            chains,    energies,    log_z_base,        innovation,        ess};
  }
};

Track parse(const char* op, const std::vector<at::Tensor>& list) {
  TORCH_CHECK_VALUE(list.size() == Track::kSize, op, ": track must hold ", Track::kSize,
                    " tensors, as log_z_track makes them, got ", list.size());
  const at::Tensor& chains = list[5];
  detail::check_chains(op, "the chains of track", chains);
  const int64_t n = 2 * (chains.size(0) - 1), n_chains = chains.size(1);
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {n},     {n, n}, {n_chains, n}, {n, n}, chains.sizes().vec(), {chains.size(0), n_chains},
      {}, {n / 2}, {}};
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("{} of track", Track::kNames[i]);
    detail::check_shape(op, name.c_str(), list[i], shapes[i], "that of log_z_track");
  }
  const auto number = [&](size_t i) { return list[i].to(at::kDouble); };
  return {list[0],   {number(1), number(2), number(3), number(4)},
          chains,    number(6),
          number(7), number(8),
          number(9)};
}

Track parse_updated(const char* op, const std::vector<at::Tensor>& list) {
  const Track track = parse(op, list);
  TORCH_CHECK_VALUE(track.n_updates.item<int64_t>() > 0, op,
                    ": there is no estimate before the first update");
  return track;
}

std::vector<at::Tensor> log_z_track(const at::Tensor& chains, const at::Tensor& betas) {
  const char* op = "log_z_track";
  const int64_t n_rungs = detail::checked_ladder(op, betas).size(0);
  detail::check_floating(op, "chains", chains);
  detail::check_chains(op, "chains", chains);
  TORCH_CHECK_VALUE(chains.dim() >= 3 && chains.size(0) == n_rungs && chains.size(1) >= 2, op,
                    ": chains must have shape (R, N, ...) = (", n_rungs, ", at least 2, ...), got ",
                    detail::describe_shape(chains.sizes()));
  const int64_t n = 2 * (n_rungs - 1), n_chains = chains.size(1);
  const auto zeros = [&](at::IntArrayRef size) {
    return at::zeros(size, chains.options().dtype(at::kDouble));
  };
  return Track{at::zeros({}, chains.options().dtype(at::kLong)),
               {zeros({n}), zeros({n, n}), zeros({n_chains, n}), zeros({n, n})},
               at::zeros_like(chains),
               zeros({n_rungs, n_chains}),
               zeros({}),
               zeros({n / 2}),
               zeros({})}
      .list();
}

/// The inverse temperature of rung r + shift for the chains of every rung r, (R N,); at the ends, their own.
at::Tensor rung_betas(const at::Tensor& betas, int64_t shift, const at::Tensor& chains) {
  const int64_t n_rungs = betas.size(0);
  const at::Tensor rung = (at::arange(n_rungs) + shift).clamp(0, n_rungs - 1);
  return betas.index_select(0, rung).to(chains.device()).repeat_interleave(chains.size(1));
}

/// Energies of all chains at several temperatures each, (K, R, N).
at::Tensor energies_at(const Energy& energy, const at::Tensor& chains,
                       const std::vector<at::Tensor>& betas) {
  // A copy: an energy may change it before that is noticed.
  const at::Tensor energies = energy.values_at(chains.flatten(0, 1).clone(), betas);
  TORCH_CHECK_VALUE(energies.gt(-INFINITY).all().item<bool>(), kTrackLogZ,
                    ": energies must not be NaN or -inf");
  return energies.unflatten(1, {chains.size(0), chains.size(1)});
}

/// Rejects chains that their own rung forbids.
void check_own(const at::Tensor& energies) {
  TORCH_CHECK_VALUE(energies.isfinite().all().item<bool>(), kTrackLogZ,
                    ": the energy of every chain at its own rung must be finite");
}

Track updated_track(const Track& old, const Energy& energy, const Energy& previous,
                    const at::Tensor& chains, const at::Tensor& betas, double log_z_base) {
  const at::Tensor own_betas = rung_betas(betas, 0, chains);
  const at::Tensor energies = energies_at(
      energy, chains, {own_betas, rung_betas(betas, -1, chains), rung_betas(betas, 1, chains)});
  const at::Tensor own = energies[0];
  check_own(own);
  const int64_t n = betas.size(0) - 1;
  const PairedBridges neighbours = detail::paired_bridges(
      kTrackLogZ, "two neighbouring rungs, pair", (own - energies[1]).narrow(0, 1, n),
      (energies[2] - own).narrow(0, 0, n));
  Track track = old;
  track.n_updates = old.n_updates + 1;
  track.chains = chains.detach().clone();
  track.energies = own;
  track.log_z_base = at::scalar_tensor(log_z_base, own.options());
  double ess = neighbours.least_ess;
  if (old.n_updates.item<int64_t>() == 0) {
    track.filter = LogZFilter::start(neighbours, log_z_base);
  } else {
    const at::Tensor then = old.energies - energies_at(energy, old.chains, {own_betas})[0];
    const at::Tensor now = energies_at(previous, chains, {own_betas})[0] - own;
    const PairedBridges changes = detail::paired_bridges(
        kTrackLogZ, "the distributions before and after the change of parameters, at rung",
        then.narrow(0, 0, n), now.narrow(0, 0, n));
    track.filter.predict(changes);
    track.innovation = track.filter.observe(neighbours, log_z_base);
    ess = std::min(ess, changes.least_ess);
  }
  track.ess = at::scalar_tensor(ess, own.options());
  return track;
}

std::vector<at::Tensor> track_log_z(const std::vector<at::Tensor>& list, const Energy& energy,
                                    const Energy& previous, const at::Tensor& chains,
                                    const at::Tensor& betas, double log_z_base) {
  const at::NoGradGuard no_grad;
  const Track old = parse(kTrackLogZ, list);
  const at::Tensor ladder = detail::checked_ladder(kTrackLogZ, betas);
  detail::check_same_type(kTrackLogZ, "chains", chains, "those of track", old.chains);
  TORCH_CHECK_VALUE(chains.sizes() == old.chains.sizes(), kTrackLogZ, ": chains must have shape ",
                    detail::describe_shape(old.chains.sizes()), ", got ",
                    detail::describe_shape(chains.sizes()));
  TORCH_CHECK_VALUE(ladder.size(0) == chains.size(0), kTrackLogZ,
                    ": betas must hold one number for each of ", chains.size(0), " rungs, got ",
                    ladder.size(0));
  TORCH_CHECK_VALUE(std::isfinite(log_z_base), kTrackLogZ, ": log_z_base must be finite, got ",
                    log_z_base);
  return updated_track(old, energy, previous, chains, ladder, log_z_base).list();
}

std::vector<at::Tensor> track_log_z_op(const std::vector<at::Tensor>& track,
                                       const c10::IValue& energy, const c10::IValue& previous,
                                       const at::Tensor& chains, const at::Tensor& betas,
                                       double log_z_base) {
  return track_log_z(track, Energy::from_ivalue(kTrackLogZ, energy),
                     Energy::from_ivalue(kTrackLogZ, previous), chains, betas, log_z_base);
}

std::vector<at::Tensor> anchor_log_z(const std::vector<at::Tensor>& list, double log_z,
                                     double std_error) {
  const char* op = "anchor_log_z";
  const at::NoGradGuard no_grad;
  Track track = parse_updated(op, list);
  TORCH_CHECK_VALUE(std::isfinite(log_z), op, ": log_z must be finite, got ", log_z);
  TORCH_CHECK_VALUE(std::isfinite(std_error) && std_error >= 0, op,
                    ": std_error must be finite and >= 0, got ", std_error);
  track.filter.anchor(log_z, std_error);
  return track.list();
}

detail::LogZNumbers tracked_log_z(const std::vector<at::Tensor>& list) {
  const Track track = parse_updated("tracked_log_z", list);
  const double std_error = std::sqrt(track.filter.error()[0][0].item<double>());
  return detail::log_z_numbers(track.filter.mean[0].item<double>(), std_error,
                               detail::t_quantile(track.chains.size(1) - 1) * std_error,
                               track.ess.item<double>(), track.energies.options());
}

at::Tensor rung_log_z(const std::vector<at::Tensor>& list) {
  const Track track = parse_updated("rung_log_z", list);
  const int64_t n = track.innovation.size(0);
  return at::cat({track.filter.mean.narrow(0, 0, n), track.log_z_base.unsqueeze(0)});
}

std::string log_z_track_warning(const std::vector<at::Tensor>& list) {
  const auto [log_z, std_error, lower, upper, ess] = tracked_log_z(list);
  const std::string warning =
      detail::overlap_warning(ess.item<double>(), lower.item<double>(), upper.item<double>());
  const Track track = parse("log_z_track_warning", list);
  const double off = track.innovation.abs().max().item<double>();
  if (!warning.empty() || off <= kFarOff) return warning;
  return fmt::format(
      "The bridges between rungs are {:.1f} standard errors from the tracked values: the chains do "
      "not follow the model; take more steps for each update, or lower the learning rate.",
      off);
}

}  // namespace

LogZTrackerImpl::LogZTrackerImpl(const at::Tensor& chains, const at::Tensor& betas)
    : betas_(detail::checked_ladder("LogZTracker", betas).clone()) {
  const c10::InferenceMode normal_buffers(false);
  const std::vector<at::Tensor> track = log_z_track(chains, betas_);
  for (size_t i = 0; i < Track::kSize; ++i) register_buffer(Track::kNames[i], track[i]);
}

void LogZTrackerImpl::update(const Energy& energy, const Energy& previous, const at::Tensor& chains,
                             double log_z_base) {
  set_track(track_log_z(track(), energy, previous, chains, betas_, log_z_base));
}

void LogZTrackerImpl::anchor(const LogZEstimate& estimate) {
  set_track(
      anchor_log_z(track(), estimate.log_z.item<double>(), estimate.std_error.item<double>()));
}

LogZEstimate LogZTrackerImpl::estimate() const {
  LogZEstimate estimate = detail::log_z_estimate(tracked_log_z(track()), betas_);
  estimate.warning = log_z_track_warning(track());
  return estimate;
}

at::Tensor LogZTrackerImpl::log_z() const { return rung_log_z(track()); }

std::vector<at::Tensor> LogZTrackerImpl::track() const { return buffers(/*recurse=*/false); }

void LogZTrackerImpl::set_track(const std::vector<at::Tensor>& track) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> mine = this->track();
  for (size_t i = 0; i < Track::kSize; ++i) mine[i].copy_(track[i]);
}

TORCH_EBM_DRIVER("log_z_track", &log_z_track)
TORCH_EBM_DRIVER("track_log_z", &track_log_z_op)
TORCH_EBM_DRIVER("anchor_log_z", &anchor_log_z)
TORCH_EBM_DRIVER("tracked_log_z", &tracked_log_z)
TORCH_EBM_DRIVER("rung_log_z", &rung_log_z)
TORCH_EBM_DRIVER("log_z_track_warning", &log_z_track_warning)

}  // namespace torch_ebm
