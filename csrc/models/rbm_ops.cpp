// The RBM's operators: free energy (but see rbm_free_energy.h) and energy are composites of differentiable torch ops,
// Gibbs sampling is two products and two passes of the fused Bernoulli kernel a step.

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/savable.h"
#include "csrc/models/rbm.h"
#include "csrc/models/rbm_chains.h"
#include "csrc/models/rbm_free_energy.h"

namespace torch_ebm {

namespace {

using detail::check_shape;

at::Tensor rbm_energy_composite(const at::Tensor& visible, const at::Tensor& hidden,
                                const at::Tensor& weight, const at::Tensor& visible_bias,
                                const at::Tensor& hidden_bias) {
  const char* const op = "rbm_energy";
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  check_shape(op, "hidden", hidden, {-1, weight.size(1)}, "(N, H)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  detail::check_same_type(op, "hidden", hidden, "weight", weight);
  TORCH_CHECK_VALUE(visible.sym_size(0) == hidden.sym_size(0), op,
                    ": visible and hidden must hold the same number of states, got ",
                    visible.sym_size(0), " and ", hidden.sym_size(0));
  const at::Tensor coupling = (at::matmul(visible, weight) * hidden).sum(1);
  return -(at::matmul(visible, visible_bias) + at::matmul(hidden, hidden_bias) + coupling);
}

at::Tensor rbm_free_energy_composite(const at::Tensor& visible, const at::Tensor& weight,
                                     const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
                                     const std::optional<at::Tensor>& beta) {
  const char* const op = "rbm_free_energy";
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  if (!beta) {
    if (auto energies = detail::closed_free_energy(visible, weight, visible_bias, hidden_bias)) {
      return *std::move(energies);
    }
  }
  at::Tensor visible_input = at::matmul(visible, visible_bias);
  at::Tensor hidden_input = detail::hidden_input(visible, weight, hidden_bias);
  if (beta) {
    detail::check_dense(op, "beta", *beta);
    TORCH_CHECK_VALUE(
        beta->dim() == 0 || (beta->dim() == 1 && beta->sym_size(0) == visible.sym_size(0)), op,
        ": beta must be one number or one for every state, shape () or (N,), got ",
        detail::describe_shape(beta->sizes()));
    const at::Tensor row_beta = beta->to(visible.options());
    visible_input = row_beta * visible_input;
    hidden_input = row_beta.unsqueeze(-1) * hidden_input;
  }
  return -(visible_input + detail::exact_softplus(hidden_input).sum(1));
}

at::Tensor base_rate_bias_kernel(const at::Tensor& data, double pseudocount) {
  const char* const op = "base_rate_bias";
  detail::check_floating(op, "data", data);
  detail::check_shape(op, "data", data, {-1, -1}, "(N, V)");
  TORCH_CHECK_VALUE(pseudocount > 0 && std::isfinite(pseudocount), op,
                    ": pseudocount must be > 0, got ", pseudocount);
  detail::check_binary(op, "data", data);
  // In float64: half precision cannot count beyond 2048.
  const at::Tensor ones = data.detach().sum(0, /*keepdim=*/false, at::kDouble) + pseudocount;
  return at::log(ones / (static_cast<double>(data.size(0)) + 2 * pseudocount - ones))
      .to(data.scalar_type());
}

at::Tensor base_rate_bias_meta(const at::Tensor& data, double) {
  check_shape("base_rate_bias", "data", data, {-1, -1}, "(N, V)");
  return at::empty_symint({data.sym_size(1)}, data.options());
}

std::tuple<at::Tensor, at::Tensor> rbm_gibbs_kernel(
    const at::Tensor& visible, const at::Tensor& weight, const at::Tensor& visible_bias,
    const at::Tensor& hidden_bias, int64_t n_steps, const std::optional<at::Tensor>& beta,
    const std::optional<at::Tensor>& clamp, std::optional<at::Generator> generator) {
  const char* const op = "rbm_gibbs";
  const at::NoGradGuard no_grad;
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  detail::check_has_units(op, weight);
  detail::check_chains(op, "visible", visible);
  detail::check_at_least(op, "n_steps", n_steps, 1);
  TORCH_CHECK_VALUE(n_steps <= UINT32_MAX, op, ": n_steps must be below 2^32, got ", n_steps);
  detail::check_rbm_finite(op, weight, visible_bias, hidden_bias);
  detail::check_binary(op, "visible", visible);
  const at::Tensor start = detail::at_least_float(visible);
  const at::Tensor row_beta = detail::checked_beta(op, beta, start);
  std::optional<at::Tensor> mask = detail::checked_clamp(op, clamp, visible);
  if (mask) mask = mask->contiguous();

  const uint64_t key = detail::draw_key(generator, visible.device());
  const detail::RBMChains chains{op,
                                 detail::at_least_float(weight),
                                 detail::at_least_float(visible_bias),
                                 detail::at_least_float(hidden_bias),
                                 start.clone(),
                                 at::empty({visible.size(0), weight.size(1)}, start.options())};
  detail::run_chains(chains, n_steps, [&](auto& these, int64_t k) {
    these.set_beta(row_beta);
    these.hidden_input();
    these.sample(key, static_cast<uint32_t>(k));
    if (mask) these.restore(start, *mask);
  });
  return {chains.v.to(visible.scalar_type()), chains.h.to(visible.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor> rbm_gibbs_meta(
    const at::Tensor& visible, const at::Tensor& weight, const at::Tensor& visible_bias,
    const at::Tensor& hidden_bias, int64_t, const std::optional<at::Tensor>&,
    const std::optional<at::Tensor>&, std::optional<at::Generator>) {
  // One meta tensor among others sends the whole call here.
  const char* const op = "rbm_gibbs";
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  TORCH_CHECK_VALUE(visible.is_meta(), op, ": beta and clamp must be on the device of visible, ",
                    visible.device(), ", got meta");
  return {at::empty_symint(visible.sym_sizes(), visible.options()),
          at::empty_symint({visible.sym_size(0), weight.sym_size(1)}, visible.options())};
}

}  // namespace

at::Tensor rbm_energy(const at::Tensor& visible, const at::Tensor& hidden, const at::Tensor& weight,
                      const at::Tensor& visible_bias, const at::Tensor& hidden_bias) {
  static const auto op =
      detail::find_operator<decltype(rbm_energy_composite)>("torch_ebm::rbm_energy");
  return op.call(visible, hidden, weight, visible_bias, hidden_bias);
}

at::Tensor rbm_free_energy(const at::Tensor& visible, const at::Tensor& weight,
                           const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
                           const std::optional<at::Tensor>& beta) {
  static const auto op =
      detail::find_operator<decltype(rbm_free_energy_composite)>("torch_ebm::rbm_free_energy");
  return op.call(visible, weight, visible_bias, hidden_bias, beta);
}

std::tuple<at::Tensor, at::Tensor> rbm_gibbs(const at::Tensor& visible, const at::Tensor& weight,
                                             const at::Tensor& visible_bias,
                                             const at::Tensor& hidden_bias, const RunOptions& run,
                                             const std::optional<at::Tensor>& clamp) {
  static const auto op = detail::find_operator<decltype(rbm_gibbs_kernel)>("torch_ebm::rbm_gibbs");
  return op.call(visible, weight, visible_bias, hidden_bias, run.n_steps, run.beta, clamp,
                 run.generator);
}

at::Tensor base_rate_bias(const at::Tensor& data, double pseudocount) {
  static const auto op =
      detail::find_operator<decltype(base_rate_bias_kernel)>("torch_ebm::base_rate_bias");
  return op.call(data, pseudocount);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("rbm_energy", detail::with_savable<&rbm_energy_composite>);
  m.impl("rbm_free_energy", detail::with_savable<&rbm_free_energy_composite>);
}

// The same functions as vmap rules: without them vmap would loop over the batch, and warn.
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("rbm_energy", detail::with_savable<&rbm_energy_composite>);
  m.impl("rbm_free_energy", detail::with_savable<&rbm_free_energy_composite>);
}

// Samples have no gradient.
TORCH_EBM_NO_GRADIENT("rbm_gibbs", &rbm_gibbs_kernel, &rbm_gibbs_meta)
TORCH_EBM_NO_GRADIENT("base_rate_bias", &base_rate_bias_kernel, &base_rate_bias_meta)

}  // namespace torch_ebm
