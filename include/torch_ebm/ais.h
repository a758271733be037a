#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

#include "torch_ebm/export.h"
#include "torch_ebm/log_z_estimate.h"
#include "torch_ebm/rbm.h"

namespace torch_ebm {

struct TORCH_EBM_API AISOptions {
  int64_t n_chains = 100;
  /// Inverse temperatures from 0 to 1, rising, (K + 1,). Default: 1001 of them, evenly spaced.
  std::optional<at::Tensor> betas = std::nullopt;
  /// Visible biases of the base, (V,); base_rate_bias(data) serves well. Default: the model's own.
  std::optional<at::Tensor> base_visible_bias = std::nullopt;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Annealed importance sampling of an RBM (Neal 2001; Salakhutdinov & Murray 2008, eqs. 16-18) along
///     log f_t(v) = (1 - t) bA.v + t b.v + sum_j softplus(t (c_j + (v W)_j)),
/// from independent visible units (t = 0, drawn exactly) to the model (t = 1), with one block Gibbs step
/// at every temperature. Unbiased for Z. Returns the log weights (n_chains,) in float64, without the base's
/// log Z, and the last visible states (n_chains, V), after a step at t = 1.
/// Throws ValueError for parameters that are not finite, betas that do not rise from 0 to 1, n_chains < 1.
TORCH_EBM_API std::tuple<at::Tensor, at::Tensor> rbm_ais(
    const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
    const at::Tensor& base_visible_bias, const at::Tensor& betas, int64_t n_chains,
    std::optional<at::Generator> generator = std::nullopt);

/// log Z of an RBM by AIS, with its error.
TORCH_EBM_API LogZEstimate ais(const RBM& rbm, const AISOptions& options = {});

}  // namespace torch_ebm
