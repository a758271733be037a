#include "csrc/passes/flips.h"

#include <ATen/Dispatch.h>

#include <limits>
#include <type_traits>

#include "csrc/passes/form.h"
#include "csrc/passes/noise.h"
#include "csrc/passes/parallel.h"
#include "csrc/passes/pointers.h"

namespace torch_ebm::passes {

namespace {

kernels::FlipWeights pointer_to(const at::Tensor& weights) {
  return {weights.mutable_data_ptr<double>(), weights.size(1)};
}

int64_t tiles_of(int64_t n_sites) {
  return (n_sites + kernels::kTileSites - 1) / kernels::kTileSites;
}

kernels::Rows all_rows(const at::Tensor& x) { return {0, x.size(0), units_of(x)}; }

// --- Torch's operations: csrc/kernels/cpu/flips.h and discrete_langevin.h ----------------------------

/// d_j / 2, (N, S).
at::Tensor half_change(const at::Tensor& x, const at::Tensor& score) {
  return (0.5 - x.view(score.sizes())) * score;
}

/// exp(d_j / 2 - max), (N, S), float64; 0 where it is tiny.
at::Tensor weights_of_units(const at::Tensor& half, const at::Tensor& max) {
  constexpr double kLeast = -87;
  const at::Tensor relative = half - max.unsqueeze(1).to(half.scalar_type());
  return relative.exp().masked_fill_(relative.gt(kLeast).logical_not_(), 0).to(at::kDouble);
}

at::Tensor weigh_by_torch(const at::Tensor& x, const at::Tensor& score) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor half = half_change(x, score);
  const at::Tensor max = half.amax(1).to(at::kDouble);
  const int64_t padding = tiles_of(half.size(1)) * kernels::kTileSites - half.size(1);
  const at::Tensor of_tiles = at::constant_pad_nd(weights_of_units(half, max), {0, padding})
                                  .view({half.size(0), -1, kernels::kTileSites})
                                  .sum(2);
  const at::Tensor finite = at::isfinite(half).all(1);
  return at::cat({at::where(finite, max, kNaN).unsqueeze(1), of_tiles}, 1);
}

at::Tensor log_probability_by_torch(const at::Tensor& x, const at::Tensor& score,
                                    const at::Tensor& weights, const at::Tensor& site) {
  const at::Tensor half = half_change(x, score).gather(1, site.unsqueeze(1)).squeeze(1);
  return half.to(at::kDouble) - weights.select(1, 0) - weights.slice(1, 1).sum(1).log();
}

at::Tensor draw_by_torch(const at::Tensor& x, const at::Tensor& score, const at::Tensor& weights,
                         const at::Tensor& uniform) {
  const at::Tensor of_units = weights_of_units(half_change(x, score), weights.select(1, 0));
  const at::Tensor below = of_units.cumsum(1);
  // Never beyond the last unit, where a weight is NaN.
  return below.le((uniform * below.select(1, -1)).unsqueeze(1)).sum(1).clamp_max(below.size(1) - 1);
}

/// The logit of flipping each unit, (N, S).
at::Tensor flip_logit(const at::Tensor& x, const at::Tensor& score, const at::Tensor& penalty) {
  return half_change(x, score) - along(score, penalty);
}

at::Tensor flip_all_by_torch(const at::Tensor& x, const at::Tensor& score,
                             const at::Tensor& penalty, kernels::Draw draw) {
  const at::Tensor odds = flip_logit(x, score, penalty).exp_().add_(1);
  const at::Tensor flips = uniform_like(score, draw).mul_(odds).ge(1);
  return at::where(flips.view(x.sizes()), 1 - x, x);
}

at::Tensor log_probability_of_all_by_torch(const at::Tensor& x, const at::Tensor& score,
                                           const at::Tensor& penalty, const at::Tensor& next) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const at::Tensor logit = flip_logit(x, score, penalty);
  const at::Tensor stays = x.eq(next).view(score.sizes());
  const at::Tensor total =
      at::log_sigmoid(at::where(stays, -logit, logit)).sum(1, /*keepdim=*/false, at::kDouble);
  return at::where(at::isfinite(score).all(1), total, kNaN);
}

// --- The CPU kernels -----------------------------------------------------------------------------------

/// Calls pass(kernels, x, score, penalty, rows) over the chains.
template <typename Pass>
void over_chains(const at::Tensor& x, const at::Tensor& score, const at::Tensor& penalty,
                 const Pass& pass) {
  const at::Tensor per_chain = beside(x, penalty);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "flip_all", [&] {
    const scalar_t* const states = x.const_data_ptr<scalar_t>();
    const scalar_t* const slopes = score.const_data_ptr<scalar_t>();
    const auto of_row = per_row<scalar_t>(per_chain);
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      pass(kernels::kernels<scalar_t>(), states, slopes, of_row, rows);
    });
  });
}

/// Flips the units `site` of the chains i with flips(i).
template <typename Flips>
void flip_by_hand(const at::Tensor& x, const at::Tensor& site, Flips flips) {
  const int64_t n_sites = units_of(x);
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

at::Tensor weigh_flips(const at::Tensor& x, const at::Tensor& score) {
  if (!kernels_take(x)) return weigh_by_torch(x, score);
  at::Tensor weights =
      at::empty({x.size(0), 1 + tiles_of(units_of(x))}, x.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "weigh_flips", [&] {
    const scalar_t* const states = x.const_data_ptr<scalar_t>();
    const scalar_t* const slopes = score.const_data_ptr<scalar_t>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().weigh_flips(states, slopes, pointer_to(weights), rows);
    });
  });
  return weights;
}

// This one and the next two are too little work for threads.
at::Tensor draw_flips(const at::Tensor& x, const at::Tensor& score, const at::Tensor& weights,
                      const at::Tensor& uniform, at::Tensor& site) {
  if (!kernels_take(x)) {
    site = draw_by_torch(x, score, weights, uniform);
    return log_probability_by_torch(x, score, weights, site);
  }
  at::Tensor log_probability = at::empty_like(uniform);
  site = at::empty({x.size(0)}, uniform.options().dtype(at::kLong));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "propose_flip", [&] {
    kernels::kernels<scalar_t>().propose_flip(
        x.const_data_ptr<scalar_t>(), score.const_data_ptr<scalar_t>(), pointer_to(weights),
        uniform.const_data_ptr<double>(), site.mutable_data_ptr<int64_t>(),
        log_probability.mutable_data_ptr<double>(), all_rows(x));
  });
  return log_probability;
}

at::Tensor flip_log_probability(const at::Tensor& x, const at::Tensor& score,
                                const at::Tensor& weights, const at::Tensor& site) {
  if (!kernels_take(x)) return log_probability_by_torch(x, score, weights, site);
  at::Tensor log_probability = one_per_chain(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "flip_log_probability", [&] {
    kernels::kernels<scalar_t>().flip_log_probability(
        x.const_data_ptr<scalar_t>(), score.const_data_ptr<scalar_t>(), pointer_to(weights),
        site.const_data_ptr<int64_t>(), log_probability.mutable_data_ptr<double>(), all_rows(x));
  });
  return log_probability;
}

void flip_(const at::Tensor& x, const at::Tensor& site) {
  if (kernels_take(x)) return flip_by_hand(x, site, [](int64_t) { return true; });
  const at::Tensor units = x.view({x.size(0), -1}), index = site.unsqueeze(1);
  units.scatter_(1, index, 1 - units.gather(1, index));
}

void flip_(const at::Tensor& x, const at::Tensor& site, const at::Tensor& mask,
           bool flipped_where) {
  if (kernels_take(x)) {
    const bool* const in_mask = mask.const_data_ptr<bool>();
    return flip_by_hand(x, site, [&](int64_t i) { return in_mask[i] == flipped_where; });
  }
  const at::Tensor units = x.view({x.size(0), -1}), index = site.unsqueeze(1);
  const at::Tensor state = units.gather(1, index);
  const at::Tensor flips = mask.eq(flipped_where).unsqueeze(1);
  units.scatter_(1, index, at::where(flips, 1 - state, state));
}

at::Tensor flip_all(const at::Tensor& x, const at::Tensor& score, const at::Tensor& penalty,
                    kernels::Draw draw) {
  if (!kernels_take(x)) return flip_all_by_torch(x, score, penalty, draw);
  at::Tensor next = at::empty_like(x);
  void* const to = next.mutable_data_ptr();
  over_chains(
      x, score, penalty,
      [&](const auto& table, const auto* from, const auto* slope, auto of_row, kernels::Rows rows) {
        using T = std::remove_cvref_t<decltype(*from)>;
        table.flip_all(from, slope, of_row, static_cast<T*>(to), rows, draw);
      });
  return next;
}

at::Tensor flip_all_log_probability(const at::Tensor& x, const at::Tensor& score,
                                    const at::Tensor& penalty, const at::Tensor& next) {
  if (!kernels_take(x)) return log_probability_of_all_by_torch(x, score, penalty, next);
  at::Tensor result = one_per_chain(x);
  double* const log_probability = result.mutable_data_ptr<double>();
  over_chains(
      x, score, penalty,
      [&](const auto& table, const auto* from, const auto* slope, auto of_row, kernels::Rows rows) {
        using T = std::remove_cvref_t<decltype(*from)>;
        table.flip_all_log_probability(from, slope, of_row, next.const_data_ptr<T>(),
                                       log_probability, rows);
      });
  return result;
}

}  // namespace torch_ebm::passes
