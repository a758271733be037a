#include "torch_ebm/ais.h"

#include <torch/library.h>

#include <atomic>
#include <cmath>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/parallel.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/models/resident_rbm.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "rbm_ais";
constexpr int64_t kDefaultTemperatures = 1001;

/// The 97.5% point of Student's t by its expansion about the normal one (Abramowitz & Stegun 26.7.5): within
/// 0.13% for 3 or more degrees of freedom; tabulated for 1 and 2.
double t_quantile(int64_t degrees) {
  if (degrees == 1) return 12.706204736;
  if (degrees == 2) return 4.302652730;
  const double z = 1.959963985;
  const double n = static_cast<double>(degrees);
  const double z2 = z * z;
  const double g1 = z * (z2 + 1) / 4;
  const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
  const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
  const double g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;
  return z + g1 / n + g2 / (n * n) + g3 / (n * n * n) + g4 / (n * n * n * n);
}

at::Tensor checked_betas(const at::Tensor& betas, const char* op) {
  detail::check_floating(op, "betas", betas);
  detail::check_shape(op, "betas", betas, {-1}, "(K + 1,)");
  TORCH_CHECK_VALUE(betas.size(0) >= 2, op, ": betas must hold at least two temperatures, got ",
                    betas.size(0));
  const at::Tensor b = betas.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK_VALUE(
      b[0].item<double>() == 0 && b[-1].item<double>() == 1 && b.diff().gt(0).all().item<bool>(),
      op, ": betas must rise strictly from 0 to 1");
  return b;
}

/// log_weights += the change of log f at the present states, from beta_previous to beta.
void add_log_ratio(at::Tensor& log_weights, const at::Tensor& v, const at::Tensor& bias_change,
                   const at::Tensor& h_input, const at::Tensor& hidden_bias, double beta_previous,
                   double beta) {
  log_weights.add_(at::mv(v, bias_change), beta - beta_previous);
  if (h_input.is_cpu() &&
      (h_input.scalar_type() == at::kFloat || h_input.scalar_type() == at::kDouble)) {
    AT_DISPATCH_FLOATING_TYPES(h_input.scalar_type(), "rbm_ais", [&] {
      const scalar_t* field = h_input.const_data_ptr<scalar_t>();
      const scalar_t* bias = hidden_bias.const_data_ptr<scalar_t>();
      double* out = log_weights.mutable_data_ptr<double>();
      detail::parallel_rows(h_input.size(0), h_input.size(1), [&](kernels::Rows rows) {
        kernels::kernels<scalar_t>().add_softplus_difference(
            field, bias, static_cast<scalar_t>(beta_previous), static_cast<scalar_t>(beta), out,
            rows);
      });
    });
  } else {
    const at::Tensor a = (h_input + hidden_bias).to(at::kDouble);
    log_weights.add_(
        (detail::exact_softplus(beta * a) - detail::exact_softplus(beta_previous * a)).sum(1));
  }
}

/// From the base, beta[0] = 0, to the model, beta[n_steps] = 1.
struct Path {
  at::Tensor weight;
  at::Tensor visible_bias;
  at::Tensor hidden_bias;
  at::Tensor base;
  const double* beta;
  int64_t n_steps;
  uint64_t key;
};

/// Takes the states v (N, V) along the path. The transition at beta[k] reuses the input of the hidden units
/// that the weights needed. p(v | h) has the logits
/// (1 - beta) bA + beta b + beta W h = beta (W h + b + (1 - beta) / beta bA).
void anneal(const Path& path, at::Tensor& v, at::Tensor& log_weights) {
  const at::Tensor bias_change = path.visible_bias - path.base;
  at::Tensor h = at::empty({v.size(0), path.weight.size(1)}, v.options());
  detail::Progress progress(kOp, path.n_steps);
  for (int64_t k = 1; k <= path.n_steps; ++k) {
    const double beta = path.beta[k];
    const auto step = static_cast<uint32_t>(k);
    at::mm_out(h, v, path.weight);
    add_log_ratio(log_weights, v, bias_change, h, path.hidden_bias, path.beta[k - 1], beta);
    const at::Tensor row_beta = at::full({}, beta, v.options());
    detail::sample_bernoulli_(kOp, h, path.hidden_bias, row_beta,
                              {path.key, step, detail::kHidden});
    at::mm_out(v, h, path.weight.t());
    const at::Tensor bias = path.visible_bias + path.base * ((1 - beta) / beta);
    detail::sample_bernoulli_(kOp, v, bias, row_beta, {path.key, step, detail::kVisible});
    progress.step(k);
  }
}

/// The same with the kernels alone, each thread on its own chains.
template <typename T>
void anneal_resident(const Path& path, at::Tensor& states, at::Tensor& log_weights) {
  const detail::ResidentRBM<T> rbm(path.weight);
  const kernels::Table<T>& table = kernels::kernels<T>();
  const at::Tensor bias_change = path.visible_bias - path.base;
  const T* const change = bias_change.const_data_ptr<T>();
  const T* const b = path.visible_bias.const_data_ptr<T>();
  const T* const c = path.hidden_bias.const_data_ptr<T>();
  const T* const base = path.base.const_data_ptr<T>();
  at::Tensor hidden_states = at::empty({states.size(0), rbm.n_hidden()}, states.options());
  T* const v = states.mutable_data_ptr<T>();
  T* const h = hidden_states.mutable_data_ptr<T>();
  double* const log_w = log_weights.mutable_data_ptr<double>();

  std::atomic<bool> valid{true};
  rbm.for_each_step(
      kOp, states.size(0), path.n_steps,
      [&](int64_t begin, int64_t end, int64_t first, int64_t last) {
        const kernels::Rows visible{begin, end, rbm.n_visible()};
        const kernels::Rows hidden{begin, end, rbm.n_hidden()};
        std::vector<T> bias(rbm.n_visible());
        for (int64_t k = first + 1; k <= last; ++k) {
          const double beta = path.beta[k];
          const double previous = path.beta[k - 1];
          const auto step = static_cast<uint32_t>(k);
          const T row_beta = static_cast<T>(beta);
          const T base_share = static_cast<T>((1 - beta) / beta);
          for (size_t i = 0; i < bias.size(); ++i) bias[i] = b[i] + base_share * base[i];

          rbm.hidden_input(v, h, begin, end);
          table.add_dot(v, change, beta - previous, log_w, visible);
          table.add_softplus_difference(h, c, static_cast<T>(previous), row_beta, log_w, hidden);
          const bool hidden_valid = table.sample_bernoulli(h, c, {&row_beta, 0}, hidden,
                                                           {path.key, step, detail::kHidden});
          rbm.visible_input(h, v, begin, end);
          const bool visible_valid = table.sample_bernoulli(v, bias.data(), {&row_beta, 0}, visible,
                                                            {path.key, step, detail::kVisible});
          if (!hidden_valid || !visible_valid) valid = false;
        }
      });
  detail::check_no_nan_logit(kOp, valid);
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

  const auto options = weight.options();
  const uint64_t key = detail::draw_key(generator, weight.device());
  const at::Tensor base = base_visible_bias.contiguous();
  const at::Tensor c = hidden_bias.contiguous();
  at::Tensor v = at::zeros({n_chains, weight.size(0)}, options);
  at::Tensor log_weights = at::zeros({n_chains}, options.dtype(at::kDouble));
  detail::sample_bernoulli_(kOp, v, base, at::ones({}, options), {key, 0, detail::kStart});

  const Path path{weight, visible_bias.contiguous(), c, base, beta, n_steps, key};
  if (detail::weights_fit_in_cache(weight)) {
    AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), kOp,
                               [&] { anneal_resident<scalar_t>(path, v, log_weights); });
  } else {
    anneal(path, v, log_weights);
  }
  return {log_weights, v};
}

std::tuple<at::Tensor, at::Tensor> rbm_ais_meta(
    const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
    const at::Tensor& base_visible_bias, const at::Tensor&, c10::SymInt n_chains,
    std::optional<at::Generator>) {
  // One meta tensor among others sends the whole call here.
  detail::check_rbm_shapes(kOp, weight, visible_bias, hidden_bias);
  detail::check_shape(kOp, "base_visible_bias", base_visible_bias, {weight.size(0)}, "(V,)");
  detail::check_same_type(kOp, "base_visible_bias", base_visible_bias, "weight", weight);
  TORCH_CHECK_VALUE(weight.is_meta(), kOp, ": betas must hold values, got a meta tensor");
  return {at::empty_symint({n_chains}, weight.options().dtype(at::kDouble)),
          at::empty_symint({n_chains, weight.sym_size(0)}, weight.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> log_z_from_weights_kernel(
    const at::Tensor& log_weights, const at::Tensor& log_z_base) {
  const char* const op = "log_z_from_weights";
  const at::NoGradGuard no_grad;
  detail::check_floating(op, "log_weights", log_weights);
  detail::check_shape(op, "log_weights", log_weights, {-1}, "(N,)");
  detail::check_at_least(op, "the number of log_weights", log_weights.size(0), 2);
  detail::check_shape(op, "log_z_base", log_z_base, {}, "()");
  const at::Tensor log_w = log_weights.to(at::kDouble);
  TORCH_CHECK_VALUE(log_w.lt(INFINITY).all().item<bool>(), op,
                    ": log_weights must not be NaN or +inf");
  TORCH_CHECK_VALUE(log_w.gt(-INFINITY).any().item<bool>(), op,
                    ": log_weights are all -inf: no chain reached the model");
  const int64_t n = log_w.size(0);
  const at::Tensor log_mean = at::logsumexp(log_w, {0}) - std::log(static_cast<double>(n));
  const at::Tensor w = at::exp(log_w - log_mean);  // mean 1
  const at::Tensor std_error =
      w.std(/*dim=*/0, /*unbiased=*/true) / std::sqrt(static_cast<double>(n));
  const at::Tensor ess = static_cast<double>(n) * static_cast<double>(n) / w.square().sum();
  const at::Tensor log_z = log_mean + log_z_base.to(at::kDouble);
  const double t = t_quantile(n - 1);
  return {log_z, std_error, log_z - t * std_error, log_z + t * std_error, ess};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> log_z_from_weights_meta(
    const at::Tensor& log_weights, const at::Tensor&) {
  const auto number = [&] { return at::empty({}, log_weights.options().dtype(at::kDouble)); };
  return {number(), number(), number(), number(), number()};
}

}  // namespace

LogZEstimate log_z_from_weights(const at::Tensor& log_weights, const at::Tensor& log_z_base) {
  static const auto op =
      detail::find_operator<decltype(log_z_from_weights_kernel)>("torch_ebm::log_z_from_weights");
  auto [log_z, std_error, lower, upper, ess] = op.call(log_weights, log_z_base);
  return {log_z, std_error, lower, upper, ess, log_weights};
}

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

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("log_z_from_weights", &log_z_from_weights_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl("rbm_ais", &rbm_ais_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl("rbm_ais", &rbm_ais_kernel); }
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("log_z_from_weights", &log_z_from_weights_meta);
  m.impl("rbm_ais", &rbm_ais_meta);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("rbm_ais", torch::CppFunction::makeFallthrough());
  m.impl("log_z_from_weights", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
