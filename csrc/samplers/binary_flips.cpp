#include "csrc/samplers/binary_flips.h"

#include "csrc/common/parallel.h"
#include "csrc/samplers/sole_owner.h"

namespace torch_ebm::detail {

namespace {

kernels::FlipWeights pointer_to(const at::Tensor& weights) {
  return {weights.mutable_data_ptr<double>(), weights.size(1)};
}

constexpr double kNeverProposed = -1e30;

/// The kernels' weights of all flips of the chains x, (N, 1 + tiles), float64.
at::Tensor weigh(const at::Tensor& x, const at::Tensor& score) {
  const int64_t n_sites = x.numel() / x.size(0);
  const int64_t n_tiles = (n_sites + kernels::kTileSites - 1) / kernels::kTileSites;
  at::Tensor weights = at::empty({x.size(0), 1 + n_tiles}, x.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "weigh_flips", [&] {
    const scalar_t* const states = x.const_data_ptr<scalar_t>();
    const scalar_t* const slopes = score.const_data_ptr<scalar_t>();
    parallel_rows(x.size(0), n_sites, [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().weigh_flips(states, slopes, pointer_to(weights), rows);
    });
  });
  return weights;
}

/// Draws the units to be flipped, (N,), int64; returns the log probabilities of drawing them, (N,), float64. Like the
/// next two, it is too little work for threads.
at::Tensor draw_flips(const at::Tensor& x, const FlipPoint& point, const at::Tensor& uniform,
                      at::Tensor& site) {
  at::Tensor log_probability = at::empty_like(uniform);
  site = at::empty({x.size(0)}, uniform.options().dtype(at::kLong));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "propose_flip", [&] {
    kernels::kernels<scalar_t>().propose_flip(
        x.const_data_ptr<scalar_t>(), point.score.const_data_ptr<scalar_t>(),
        pointer_to(point.weights), uniform.const_data_ptr<double>(),
        site.mutable_data_ptr<int64_t>(), log_probability.mutable_data_ptr<double>(),
        {0, x.size(0), x.numel() / x.size(0)});
  });
  return log_probability;
}

/// The log probabilities of drawing the units `site`, (N,), float64.
at::Tensor log_probability_of(const at::Tensor& x, const FlipPoint& point, const at::Tensor& site) {
  at::Tensor log_probability = at::empty({x.size(0)}, x.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "flip_log_probability", [&] {
    kernels::kernels<scalar_t>().flip_log_probability(
        x.const_data_ptr<scalar_t>(), point.score.const_data_ptr<scalar_t>(),
        pointer_to(point.weights), site.const_data_ptr<int64_t>(),
        log_probability.mutable_data_ptr<double>(), {0, x.size(0), x.numel() / x.size(0)});
  });
  return log_probability;
}

/// Flips the units `site` of the chains i with flips(i).
template <typename Flips>
void flip_(const at::Tensor& x, const at::Tensor& site, Flips flips) {
  const int64_t n_sites = x.numel() / x.size(0);
  const int64_t* const unit = site.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "flip_", [&] {
    scalar_t* const states = x.mutable_data_ptr<scalar_t>();
    for (int64_t i = 0; i < x.size(0); ++i) {
      scalar_t& state = states[i * n_sites + unit[i]];
      if (flips(i)) state = 1 - state;
    }
  });
}

}  // namespace

BinaryFlips::BinaryFlips(const char* op, const Energy& energy, ChainRun& chains,
                         const at::Tensor& clamp)
    : energy_(energy),
      chains_(chains),
      clamp_(clamp),
      proposed_x_(chains.x.clone()),
      current_(at(chains.x.clone())) {
  check_chains_finite(op, "energy", current_.energy, 0);
  check_chains_finite(op, "score", current_.score, 0);
}

FlipPoint BinaryFlips::at(const at::Tensor& x) const {
  const auto [energy, score] = energy_.value_and_score(x, chains_.beta);
  at::Tensor slopes = score.to(x.options()).reshape({chains_.n_chains(), -1}).contiguous();
  if (clamp_.defined()) {
    // A flip that is so unlikely, to first order, is never proposed.
    const at::Tensor never = (1 - 2 * x.view(slopes.sizes())) * kNeverProposed;
    slopes = at::where(clamp_, never, slopes);
  }
  return {energy.to(at::kDouble), slopes, weigh(x, slopes)};
}

Proposal BinaryFlips::propose(const at::Tensor& uniform) {
  const at::Tensor forward = draw_flips(chains_.x, current_, uniform, site_);
  flip_(proposed_x_, site_, [](int64_t) { return true; });
  proposed_ = at(proposed_x_);
  const at::Tensor back = log_probability_of(proposed_x_, proposed_, site_);
  return {proposed_.energy, current_.energy - proposed_.energy + (back - forward)};
}

void BinaryFlips::choose(const Decision& decision) {
  current_ = {at::where(decision.accepted, proposed_.energy, current_.energy),
              decision.choose(std::move(proposed_.score), current_.score),
              decision.choose(std::move(proposed_.weights), current_.weights)};
  chains_.energy = current_.energy;
  const bool* const accepted = decision.accepted.const_data_ptr<bool>();
  flip_(chains_.x, site_, [&](int64_t i) { return accepted[i]; });
  if (is_sole_owner(proposed_x_)) {
    flip_(proposed_x_, site_, [&](int64_t i) { return !accepted[i]; });
  } else {
    proposed_x_ = chains_.x.clone();  // the energy keeps what it was given
  }
}

}  // namespace torch_ebm::detail
