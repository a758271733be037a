#pragma once
// Flips of binary chains guided by a score: of one unit (Grathwohl et al. 2021), and of every unit on its own (Zhang,
// Liu & Liu 2022). x: (N, ...), float or double, contiguous; score: (N, S), of its dtype, contiguous.

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// The weights of the flips of one unit, exp(d_j / 2), d_j = (1 - 2 x_j) score_j: their maximum's logarithm and,
/// relative to it, the sum over each tile of 64 units; (N, 1 + tiles), float64. The maximum is NaN unless all d_j are
/// finite.
at::Tensor weigh_flips(const at::Tensor& x, const at::Tensor& score);

/// Draws a unit of every chain with these weights, by inversion of uniform numbers (N,), float64: `site` (N,), int64.
/// Returns the log probabilities of drawing them, (N,), float64.
at::Tensor draw_flips(const at::Tensor& x, const at::Tensor& score, const at::Tensor& weights,
                      const at::Tensor& uniform, at::Tensor& site);

/// The log probabilities of drawing the units `site`, (N,), float64.
at::Tensor flip_log_probability(const at::Tensor& x, const at::Tensor& score,
                                const at::Tensor& weights, const at::Tensor& site);

/// Flips the units `site`, in place: of all chains, or of those where mask (N,) is `flipped_where`.
void flip_(const at::Tensor& x, const at::Tensor& site);
void flip_(const at::Tensor& x, const at::Tensor& site, const at::Tensor& mask, bool flipped_where);

/// x with every unit flipped with probability sigmoid(d_j / 2 - penalty); penalty: () or (N,), of any dtype and device.
at::Tensor flip_all(const at::Tensor& x, const at::Tensor& score, const at::Tensor& penalty,
                    kernels::Draw draw);

/// The log probabilities that flip_all makes `next` of x, (N,), float64; NaN if a score is not finite.
at::Tensor flip_all_log_probability(const at::Tensor& x, const at::Tensor& score,
                                    const at::Tensor& penalty, const at::Tensor& next);

}  // namespace torch_ebm::passes
