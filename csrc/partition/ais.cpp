#include "torch_ebm/ais.h"

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/models/rbm_chains.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "rbm_ais";
constexpr int64_t kDefaultTemperatures = 1001;
constexpr double kSmallestBeta = 1e-20;  // biases are divided by it, in float

at::Tensor checked_betas(const at::Tensor& betas, const char* op) {
  detail::check_floating(op, "betas", betas);
  detail::check_shape(op, "betas", betas, {-1}, "(K + 1,)");
  TORCH_CHECK_VALUE(betas.size(0) >= 2, op, ": betas must hold at least two temperatures, got ",
                    betas.size(0));
  const at::Tensor b = betas.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK_VALUE(
      b[0].item<double>() == 0 && b[-1].item<double>() == 1 && b.diff().gt(0).all().item<bool>(),
      op, ": betas must rise strictly from 0 to 1");
  TORCH_CHECK_VALUE(b[1].item<double>() >= kSmallestBeta, op,
                    ": the first beta after 0 must be at least ", kSmallestBeta, ", got ",
                    b[1].item<double>());
  return b;
}

std::tuple<at::Tensor, at::Tensor> rbm_ais_kernel(const at::Tensor& weight,
                                                  const at::Tensor& visible_bias,
                                                  const at::Tensor& hidden_bias,
                                                  const at::Tensor& base_visible_bias,
                                                  const at::Tensor& betas, int64_t n_chains,
                                                  std::optional<at::Generator> generator) {
  const at::NoGradGuard no_grad;
  detail::check_rbm_shapes(kOp, weight, visible_bias, hidden_bias);
  detail::check_shape(kOp, "base_visible_bias", base_visible_bias, {weight.size(0)}, "(V,)");
  detail::check_same_type(kOp, "base_visible_bias", base_visible_bias, "weight", weight);
  detail::check_rbm_finite(kOp, weight, visible_bias, hidden_bias);
  detail::check_finite(kOp, "base_visible_bias", base_visible_bias);
  detail::check_at_least(kOp, "n_chains", n_chains, 1);
  const at::Tensor schedule = checked_betas(betas, kOp);
  const double* const beta = schedule.const_data_ptr<double>();
  const int64_t n_steps = schedule.size(0) - 1;

  const at::Tensor w = detail::at_least_float(weight);
  const auto options = w.options();
  const uint64_t key = detail::draw_key(generator, weight.device());
  const at::Tensor base = detail::at_least_float(base_visible_bias);
  const at::Tensor b = detail::at_least_float(visible_bias);
  at::Tensor v = at::zeros({n_chains, weight.size(0)}, options);
  detail::sample_bernoulli_(kOp, v, base, at::ones({}, options), {key, 0, detail::kStart});

  at::Tensor log_weights = at::zeros({n_chains}, options.dtype(at::kDouble));
  const at::Tensor bias_change = b - base;
  const detail::RBMChains chains{kOp, w,
                                 b,   detail::at_least_float(hidden_bias),
                                 v,   at::empty({n_chains, weight.size(1)}, options)};
  detail::run_chains(chains, n_steps, [&](auto& these, int64_t k) {
    these.hidden_input();
    these.add_log_ratio(log_weights, bias_change, beta[k], beta[k + 1]);
    // The transition at beta[k + 1] starts from the same inputs of the hidden units.
    these.set_beta(beta[k + 1], base);
    these.sample(key, static_cast<uint32_t>(k + 1));
  });
  return {log_weights, v.to(weight.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor> rbm_ais_meta(const at::Tensor& weight,
                                                const at::Tensor& visible_bias,
                                                const at::Tensor& hidden_bias,
                                                const at::Tensor& base_visible_bias,
                                                const at::Tensor&, c10::SymInt n_chains,
                                                std::optional<at::Generator>) {
  // One meta tensor among others sends the whole call here.
  detail::check_rbm_shapes(kOp, weight, visible_bias, hidden_bias);
  detail::check_shape(kOp, "base_visible_bias", base_visible_bias, {weight.size(0)}, "(V,)");
  detail::check_same_type(kOp, "base_visible_bias", base_visible_bias, "weight", weight);
  TORCH_CHECK_VALUE(weight.is_meta(), kOp, ": betas must hold values, got a meta tensor");
  return {at::empty_symint({n_chains}, weight.options().dtype(at::kDouble)),
          at::empty_symint({n_chains, weight.sym_size(0)}, weight.options())};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> rbm_ais(const at::Tensor& weight, const at::Tensor& visible_bias,
                                           const at::Tensor& hidden_bias,
                                           const at::Tensor& base_visible_bias,
                                           const at::Tensor& betas, int64_t n_chains,
                                           std::optional<at::Generator> generator) {
  static const auto op = detail::find_operator<decltype(rbm_ais_kernel)>("torch_ebm::rbm_ais");
  return op.call(weight, visible_bias, hidden_bias, base_visible_bias, betas, n_chains,
                 std::move(generator));
}

LogZEstimate ais(const RBM& rbm, const AISOptions& options) {
  detail::check_at_least("ais", "n_chains", options.n_chains, 2);
  const at::Tensor base = options.base_visible_bias.value_or(rbm->visible_bias).detach();
  const at::Tensor betas = options.betas.value_or(
      at::linspace(0, 1, kDefaultTemperatures, at::TensorOptions().dtype(at::kDouble)));
  const auto [log_weights, states] = rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base,
                                             betas, options.n_chains, options.generator);
  // At t = 0 the softplus terms are log 2 each.
  const at::Tensor log_z_base = detail::exact_softplus(base.to(at::kDouble)).sum() +
                                static_cast<double>(rbm->weight.size(1)) * std::log(2.0);
  return log_z_from_weights(log_weights, log_z_base);
}

TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl("rbm_ais", &rbm_ais_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl("rbm_ais", &rbm_ais_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("rbm_ais", &rbm_ais_meta); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("rbm_ais", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
