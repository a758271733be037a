#include "csrc/samplers/binary_flips.h"

#include "csrc/passes/flips.h"
#include "csrc/passes/sole_owner.h"

namespace torch_ebm::detail {

namespace {

constexpr double kNeverProposed = -1e30;

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
  return {energy.to(at::kDouble), slopes, passes::weigh_flips(x, slopes)};
}

Proposal BinaryFlips::propose(const at::Tensor& uniform) {
  const at::Tensor forward =
      passes::draw_flips(chains_.x, current_.score, current_.weights, uniform, site_);
  passes::flip_(proposed_x_, site_);
  proposed_ = at(proposed_x_);
  const at::Tensor back =
      passes::flip_log_probability(proposed_x_, proposed_.score, proposed_.weights, site_);
  return {proposed_.energy, current_.energy - proposed_.energy + (back - forward)};
}

void BinaryFlips::choose(const Decision& decision) {
  current_ = {at::where(decision.accepted, proposed_.energy, current_.energy),
              decision.choose(std::move(proposed_.score), current_.score),
              decision.choose(std::move(proposed_.weights), current_.weights)};
  chains_.energy = current_.energy;
  passes::flip_(chains_.x, site_, decision.accepted, true);
  if (passes::is_sole_owner(proposed_x_)) {
    passes::flip_(proposed_x_, site_, decision.accepted, false);
  } else {
    proposed_x_ = chains_.x.clone();  // the energy keeps what it was given
  }
}

}  // namespace torch_ebm::detail
