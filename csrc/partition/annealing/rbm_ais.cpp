#include "torch_ebm/partition/annealing/rbm_ais.h"

#include <torch/library.h>

#include <algorithm>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/models/rbm_chains.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/passes/bernoulli.h"

namespace torch_ebm {

namespace {

constexpr const char* kRbmAis = "rbm_ais";
constexpr double kSmallestBeta = 1e-20;  // biases are divided by it, in float

at::Tensor checked_betas(const at::Tensor& betas, bool from_base) {
  const at::Tensor path = detail::checked_path(kRbmAis, betas);
  const double first = path[0].item<double>();
  const double last = path[-1].item<double>();
  TORCH_CHECK_VALUE(first <= 1 && last <= 1, kRbmAis, ": betas must lie in [0, 1], got ",
                    std::max(first, last));
  TORCH_CHECK_VALUE(!from_base || first == 0, kRbmAis,
                    ": betas must rise strictly from 0 unless visible is given, got ", first);
  const double lowest = path.masked_select(path.gt(0)).min().item<double>();
  TORCH_CHECK_VALUE(lowest >= kSmallestBeta, kRbmAis, ": the first beta after 0 must be at least ",
                    kSmallestBeta, ", got ", lowest);
  return path;
}

/// Given states and weights for n_chains, or absent.
void check_chains(const std::optional<at::Tensor>& visible,
                  const std::optional<at::Tensor>& log_weights, const at::Tensor& weight,
                  int64_t n_chains) {
  detail::check_at_least(kRbmAis, "n_chains", n_chains, 1);
  if (visible) {
    detail::check_shape(kRbmAis, "visible", *visible, {n_chains, weight.size(0)}, "(n_chains, V)");
    detail::check_same_type(kRbmAis, "visible", *visible, "weight", weight);
    detail::check_binary(kRbmAis, "visible", *visible);
  }
  if (log_weights) {
    detail::check_floating(kRbmAis, "log_weights", *log_weights);
    detail::check_shape(kRbmAis, "log_weights", *log_weights, {n_chains}, "(n_chains,)");
  }
}

std::tuple<at::Tensor, at::Tensor> rbm_ais_kernel(
    const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
    const at::Tensor& base_visible_bias, const at::Tensor& betas, int64_t n_chains,
    const std::optional<at::Tensor>& visible, const std::optional<at::Tensor>& log_weights,
    std::optional<at::Generator> generator) {
  const at::NoGradGuard no_grad;
  detail::check_rbm_shapes(kRbmAis, weight, visible_bias, hidden_bias);
  detail::check_has_units(kRbmAis, weight);
  detail::check_shape(kRbmAis, "base_visible_bias", base_visible_bias, {weight.size(0)}, "(V,)");
  detail::check_same_type(kRbmAis, "base_visible_bias", base_visible_bias, "weight", weight);
  detail::check_rbm_finite(kRbmAis, weight, visible_bias, hidden_bias);
  detail::check_finite(kRbmAis, "base_visible_bias", base_visible_bias);
  check_chains(visible, log_weights, weight, n_chains);
  const at::Tensor schedule = checked_betas(betas, /*from_base=*/!visible);
  const double* const beta = schedule.const_data_ptr<double>();
  const int64_t n_steps = schedule.size(0) - 1;
  const bool rising = beta[0] < beta[1];

  const at::Tensor w = detail::at_least_float(weight);
  const auto options = w.options();
  const uint64_t key = detail::draw_key(generator, weight.device());
  const at::Tensor base = detail::at_least_float(base_visible_bias);
  const at::Tensor b = detail::at_least_float(visible_bias);
  at::Tensor v = at::empty({n_chains, weight.size(0)}, options);
  if (visible) {
    v.copy_(*visible);
  } else {
    v.zero_();
    passes::sample_bernoulli_(kRbmAis, v, base, at::ones({}, options), {key, 0, detail::kStart});
  }

  // The kernel adds the increment of a rising beta: going down, its sign is reversed.
  const double sign = rising ? 1 : -1;
  at::Tensor weights = at::zeros({n_chains}, options.dtype(at::kDouble));
  if (log_weights) weights.add_(*log_weights, sign);
  const at::Tensor bias_change = b - base;
  const detail::RBMChains chains{kRbmAis, w,
                                 b,       detail::at_least_float(hidden_bias),
                                 v,       at::empty({n_chains, weight.size(1)}, options)};
  detail::run_chains(chains, n_steps, [&](auto& these, int64_t k) {
    const auto [low, high] = std::minmax(beta[k], beta[k + 1]);
    these.hidden_input();
    these.add_log_ratio(weights, bias_change, low, high);
    if (beta[k + 1] == 0) return;  // the base is reached
    // The transition at beta[k + 1] starts from the same inputs of the hidden units.
    these.set_beta(beta[k + 1], base);
    these.sample(key, static_cast<uint32_t>(k + 1));
  });
  return {sign * weights, v.to(weight.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor> rbm_ais_meta(
    const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
    const at::Tensor& base_visible_bias, const at::Tensor&, c10::SymInt n_chains,
    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
    std::optional<at::Generator>) {
  // One meta tensor among others sends the whole call here.
  detail::check_rbm_shapes(kRbmAis, weight, visible_bias, hidden_bias);
  detail::check_shape(kRbmAis, "base_visible_bias", base_visible_bias, {weight.size(0)}, "(V,)");
  detail::check_same_type(kRbmAis, "base_visible_bias", base_visible_bias, "weight", weight);
  TORCH_CHECK_VALUE(weight.is_meta(), kRbmAis, ": betas must hold values, got a meta tensor");
  return {at::empty_symint({n_chains}, weight.options().dtype(at::kDouble)),
          at::empty_symint({n_chains, weight.sym_size(0)}, weight.options())};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> rbm_ais(const at::Tensor& weight, const at::Tensor& visible_bias,
                                           const at::Tensor& hidden_bias,
                                           const at::Tensor& base_visible_bias,
                                           const at::Tensor& betas, int64_t n_chains,
                                           std::optional<at::Generator> generator,
                                           const std::optional<at::Tensor>& visible,
                                           const std::optional<at::Tensor>& log_weights) {
  static const auto op = detail::find_operator<decltype(rbm_ais_kernel)>("torch_ebm::rbm_ais");
  return op.call(weight, visible_bias, hidden_bias, base_visible_bias, betas, n_chains, visible,
                 log_weights, std::move(generator));
}

TORCH_EBM_NO_GRADIENT("rbm_ais", &rbm_ais_kernel, &rbm_ais_meta)

}  // namespace torch_ebm
