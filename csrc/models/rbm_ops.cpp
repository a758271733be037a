// The RBM's operators: free energy and energy are composites of differentiable torch ops, Gibbs sampling is
// two GEMMs and two passes of the fused Bernoulli kernel a step.

#include <torch/library.h>

#include <atomic>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/models/resident_rbm.h"

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
                                     const at::Tensor& visible_bias,
                                     const at::Tensor& hidden_bias) {
  const char* const op = "rbm_free_energy";
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  const at::Tensor a = detail::hidden_input(visible, weight, hidden_bias);
  return -(at::matmul(visible, visible_bias) + detail::exact_softplus(a).sum(1));
}

at::Tensor base_rate_bias_kernel(const at::Tensor& data, double pseudocount) {
  const char* const op = "base_rate_bias";
  detail::check_floating(op, "data", data);
  detail::check_shape(op, "data", data, {-1, -1}, "(N, V)");
  TORCH_CHECK_VALUE(pseudocount > 0 && std::isfinite(pseudocount), op,
                    ": pseudocount must be > 0, got ", pseudocount);
  detail::check_binary(op, "data", data);
  const at::Tensor ones = data.detach().sum(0) + pseudocount;
  return at::log(ones / (static_cast<double>(data.size(0)) + 2 * pseudocount - ones));
}

at::Tensor base_rate_bias_meta(const at::Tensor& data, double) {
  return at::empty_symint({data.sym_size(1)}, data.options());
}

/// Block Gibbs sampling with the kernels alone, each thread on its own chains: from `start` to v and h.
template <typename T>
void gibbs_resident(const at::Tensor& start, const detail::ResidentRBM<T>& rbm, const at::Tensor& b,
                    const at::Tensor& c, const at::Tensor& beta,
                    const std::optional<at::Tensor>& clamp, int64_t n_steps, uint64_t key,
                    at::Tensor& v_states, at::Tensor& h_states) {
  const char* const op = "rbm_gibbs";
  const kernels::Table<T>& table = kernels::kernels<T>();
  const kernels::PerRow<T> row_beta{beta.const_data_ptr<T>(), beta.dim()};
  const at::Tensor mask = clamp ? clamp->contiguous() : at::Tensor();
  const bool* const clamped = clamp ? mask.const_data_ptr<bool>() : nullptr;
  const T* const from = start.const_data_ptr<T>();
  const T* const visible_bias = b.const_data_ptr<T>();
  const T* const hidden_bias = c.const_data_ptr<T>();
  T* const v = v_states.mutable_data_ptr<T>();
  T* const h = h_states.mutable_data_ptr<T>();

  std::atomic<bool> valid{true};
  rbm.for_each_step(op, start.size(0), n_steps,
                    [&](int64_t begin, int64_t end, int64_t first, int64_t last) {
                      const kernels::Rows visible{begin, end, rbm.n_visible()};
                      const kernels::Rows hidden{begin, end, rbm.n_hidden()};
                      for (int64_t k = first; k < last; ++k) {
                        const auto step = static_cast<uint32_t>(k);
                        rbm.hidden_input(k == 0 ? from : v, h, begin, end);
                        const bool hidden_valid = table.sample_bernoulli(
                            h, hidden_bias, row_beta, hidden, {key, step, detail::kHidden});
                        rbm.visible_input(h, v, begin, end);
                        const bool visible_valid = table.sample_bernoulli(
                            v, visible_bias, row_beta, visible, {key, step, detail::kVisible});
                        if (!hidden_valid || !visible_valid) valid = false;
                        if (clamped == nullptr) continue;
                        for (int64_t i = begin * visible.n_sites; i < end * visible.n_sites; ++i) {
                          if (clamped[i]) v[i] = from[i];
                        }
                      }
                    });
  detail::check_no_nan_logit(op, valid);
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
  detail::check_chains(op, "visible", visible);
  detail::check_at_least(op, "n_steps", n_steps, 1);
  TORCH_CHECK_VALUE(n_steps <= UINT32_MAX, op, ": n_steps must be below 2^32, got ", n_steps);
  detail::check_rbm_finite(op, weight, visible_bias, hidden_bias);
  detail::check_binary(op, "visible", visible);
  const at::Tensor row_beta = detail::checked_beta(op, beta, visible);
  const auto mask = detail::checked_clamp(op, clamp, visible);

  const at::Tensor b = visible_bias.contiguous();
  const at::Tensor c = hidden_bias.contiguous();
  const uint64_t key = detail::draw_key(generator, visible.device());
  at::Tensor h = at::empty({visible.size(0), weight.size(1)}, visible.options());
  at::Tensor v = at::empty(visible.sizes(), visible.options());
  if (detail::weights_fit_in_cache(weight)) {
    const at::Tensor start = visible.contiguous();
    AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), "rbm_gibbs", [&] {
      gibbs_resident<scalar_t>(start, detail::ResidentRBM<scalar_t>(weight), b, c, row_beta, mask,
                               n_steps, key, v, h);
    });
    return {v, h};
  }
  detail::Progress progress(op, n_steps);
  for (int64_t step = 0; step < n_steps; ++step) {
    const auto counter = static_cast<uint32_t>(step);
    at::mm_out(h, step == 0 ? visible : v, weight);
    detail::sample_bernoulli_(op, h, c, row_beta, {key, counter, detail::kHidden});
    at::mm_out(v, h, weight.t());
    detail::sample_bernoulli_(op, v, b, row_beta, {key, counter, detail::kVisible});
    if (mask) v.copy_(at::where(*mask, visible, v));
    progress.step(step + 1);
  }
  return {v, h};
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
                           const at::Tensor& visible_bias, const at::Tensor& hidden_bias) {
  static const auto op =
      detail::find_operator<decltype(rbm_free_energy_composite)>("torch_ebm::rbm_free_energy");
  return op.call(visible, weight, visible_bias, hidden_bias);
}

std::tuple<at::Tensor, at::Tensor> rbm_gibbs(const at::Tensor& visible, const at::Tensor& weight,
                                             const at::Tensor& visible_bias,
                                             const at::Tensor& hidden_bias,
                                             const GibbsOptions& options) {
  static const auto op = detail::find_operator<decltype(rbm_gibbs_kernel)>("torch_ebm::rbm_gibbs");
  return op.call(visible, weight, visible_bias, hidden_bias, options.n_steps, options.beta,
                 options.clamp, options.generator);
}

at::Tensor base_rate_bias(const at::Tensor& data, double pseudocount) {
  static const auto op =
      detail::find_operator<decltype(base_rate_bias_kernel)>("torch_ebm::base_rate_bias");
  return op.call(data, pseudocount);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("rbm_energy", &rbm_energy_composite);
  m.impl("rbm_free_energy", &rbm_free_energy_composite);
}

// The same functions as vmap rules: without them vmap would loop over the batch, and warn.
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("rbm_energy", &rbm_energy_composite);
  m.impl("rbm_free_energy", &rbm_free_energy_composite);
}

// Looks at its values, which a composite must not do under a tracer.
TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("base_rate_bias", &base_rate_bias_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl("rbm_gibbs", &rbm_gibbs_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl("rbm_gibbs", &rbm_gibbs_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("base_rate_bias", &base_rate_bias_meta);
  m.impl("rbm_gibbs", &rbm_gibbs_meta);
}
// Samples have no gradient.
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("base_rate_bias", torch::CppFunction::makeFallthrough());
  m.impl("rbm_gibbs", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
