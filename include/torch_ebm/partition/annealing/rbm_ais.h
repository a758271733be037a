#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include <optional>
#include <tuple>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// Annealed importance sampling of an RBM (Neal 2001; Salakhutdinov & Murray 2008, eqs. 16-18)
/// along
///     log f_t(v) = (1 - t) bA.v + t b.v + sum_j softplus(t (c_j + (v W)_j)),
/// from independent visible units (t = 0) to the model (t = 1), with one block Gibbs step at every
/// temperature. Without `visible` the chains are drawn from the distribution at t = 0. With it,
/// (n_chains, V), they continue from there, with `log_weights`, (n_chains,), if given: up, or, from
/// samples of the model, down (reverse AIS).
///
/// betas: (K + 1,), within [0, 1], strictly rising or falling. Returns the log weights (n_chains,)
/// in float64, unbiased for Z(betas[K]) / Z(betas[0]), and the last visible states (n_chains, V),
/// after a step at betas[K] unless that is 0.
/// Throws ValueError for parameters that are not finite, invalid betas, other shapes, n_chains < 1.
TORCH_EBM_API std::tuple<at::Tensor, at::Tensor> rbm_ais(
    const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
    const at::Tensor& base_visible_bias, const at::Tensor& betas, int64_t n_chains,
    std::optional<at::Generator> generator = std::nullopt,
    const std::optional<at::Tensor>& visible = std::nullopt,
    const std::optional<at::Tensor>& log_weights = std::nullopt);

}  // namespace torch_ebm
