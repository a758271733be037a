#include "torch_ebm/partition/annealing/rbm_path.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/passes/bernoulli.h"

namespace torch_ebm {

namespace {

constexpr const char* kName = "RBMPath";

using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

/// The shapes of R >= 2 knots.
void check_knots(const at::Tensor& weight, const at::Tensor& visible_bias,
                 const at::Tensor& hidden_bias) {
  detail::check_floating(kName, "weight", weight);
  detail::check_shape(kName, "weight", weight, {-1, -1, -1}, "(R, V, H)");
  const int64_t n_knots = weight.size(0);
  TORCH_CHECK_VALUE(n_knots >= 2, kName, ": weight must hold at least 2 knots, got ", n_knots);
  detail::check_shape(kName, "visible_bias", visible_bias, {n_knots, weight.size(1)}, "(R, V)");
  detail::check_shape(kName, "hidden_bias", hidden_bias, {n_knots, weight.size(2)}, "(R, H)");
  detail::check_same_type(kName, "visible_bias", visible_bias, "weight", weight);
  detail::check_same_type(kName, "hidden_bias", hidden_bias, "weight", weight);
}

/// Checks the knots; their inverse temperatures.
at::Tensor rbm_path_betas(const at::Tensor& weight, const at::Tensor& visible_bias,
                          const at::Tensor& hidden_bias, const std::optional<at::Tensor>& betas) {
  check_knots(weight, visible_bias, hidden_bias);
  const int64_t n_knots = weight.size(0);
  detail::check_rbm_finite(kName, weight, visible_bias, hidden_bias);
  TORCH_CHECK_VALUE(weight[0].eq(0).all().item<bool>(), kName,
                    ": weight of the first knot must be 0: its visible units are independent");
  if (!betas) return at::linspace(0, 1, n_knots, at::kDouble);
  detail::check_shape(kName, "betas", *betas, {n_knots}, "(R,)");
  return detail::checked_path_to_model(kName, betas).clone();
}

double checked_place(const at::Tensor& beta) {
  detail::check_floating(kName, "beta", beta);
  TORCH_CHECK_VALUE(beta.dim() == 0, kName,
                    ": beta must be one number for all chains, shape (), got ",
                    detail::describe_shape(beta.sizes()));
  const double place = beta.item<double>();
  TORCH_CHECK_VALUE(place >= 0 && place <= 1, kName, ": beta must lie in [0, 1], got ", place);
  return place;
}

ThreeTensors rbm_path_at(const at::Tensor& weight, const at::Tensor& visible_bias,
                         const at::Tensor& hidden_bias, const at::Tensor& betas,
                         const at::Tensor& beta) {
  const at::NoGradGuard no_grad;
  check_knots(weight, visible_bias, hidden_bias);
  detail::check_floating(kName, "betas", betas);
  detail::check_shape(kName, "betas", betas, {weight.size(0)}, "(R,)");
  const detail::Place place =
      detail::place_on_path(betas.to(at::kCPU, at::kDouble).contiguous(), checked_place(beta));
  return {detail::linear_between(weight, place), detail::linear_between(visible_bias, place),
          detail::linear_between(hidden_bias, place)};
}

ThreeTensors rbm_path_at_meta(const at::Tensor& weight, const at::Tensor& visible_bias,
                              const at::Tensor& hidden_bias, const at::Tensor&, const at::Tensor&) {
  check_knots(weight, visible_bias, hidden_bias);
  const auto one_knot = [](const at::Tensor& knots) {
    return at::empty_symint(knots.sym_sizes().slice(1), knots.options());
  };
  return {one_knot(weight), one_knot(visible_bias), one_knot(hidden_bias)};
}

}  // namespace

RBMPathImpl::RBMPathImpl(const at::Tensor& weight, const at::Tensor& visible_bias,
                         const at::Tensor& hidden_bias, const std::optional<at::Tensor>& betas)
    : weight(weight),
      visible_bias(visible_bias),
      hidden_bias(hidden_bias),
      betas(rbm_path_betas(weight, visible_bias, hidden_bias, betas)) {
  RBMPathImpl::reset();
}

void RBMPathImpl::reset() {
  weight = register_buffer("weight", weight.detach().clone());
  visible_bias = register_buffer("visible_bias", visible_bias.detach().clone());
  hidden_bias = register_buffer("hidden_bias", hidden_bias.detach().clone());
  betas = register_buffer("betas", betas.detach().clone());
}

void RBMPathImpl::pretty_print(std::ostream& stream) const {
  stream << "torch_ebm::RBMPath(n_knots=" << weight.size(0) << ", n_visible=" << weight.size(1)
         << ", n_hidden=" << weight.size(2) << ")";
}

at::Tensor RBMPathImpl::forward(const at::Tensor& visible) const {
  return rbm_free_energy(visible, weight[-1], visible_bias[-1], hidden_bias[-1]);
}

ThreeTensors RBMPathImpl::rbm_at(const at::Tensor& beta) const {
  return rbm_path_at(weight, visible_bias, hidden_bias, betas, beta);
}

NoiseDistribution RBMPathImpl::base() const {
  const at::Tensor bias = visible_bias[0].clone();
  const auto sample = [bias](int64_t n, const std::optional<at::Generator>& generator) {
    const at::Tensor logits = detail::at_least_float(bias);
    at::Tensor v = at::zeros({n, bias.size(0)}, logits.options());
    const uint64_t key = detail::draw_key(generator, bias.device());
    passes::sample_bernoulli_(kName, v, logits, at::ones({}, logits.options()),
                              {key, 0, detail::kStart});
    return v.to(bias.scalar_type());
  };
  const auto log_prob = [bias = bias.to(at::kDouble)](const at::Tensor& v) {
    return at::mv(v.to(at::kDouble), bias) - detail::exact_softplus(bias).sum();
  };
  return {sample, log_prob};
}

std::optional<at::Tensor> RBMPathImpl::tempered(const at::Tensor& x, const at::Tensor& beta) const {
  const auto [w, b, c] = rbm_at(beta);
  return rbm_free_energy(x, w, b, c);
}

std::optional<at::Tensor> RBMPathImpl::gibbs(const at::Tensor& x, const RunOptions& run,
                                             const std::optional<at::Tensor>& clamp) const {
  const auto [w, b, c] = rbm_at(run.beta.value_or(at::ones({}, x.options())));
  RunOptions at_knot = run;
  at_knot.beta = std::nullopt;
  return std::get<0>(rbm_gibbs(x, w, b, c, at_knot, clamp));
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_rbm_path_betas", &rbm_path_betas);
  m.impl("rbm_path_at", &rbm_path_at);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("rbm_path_at", &rbm_path_at_meta); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("_rbm_path_betas", torch::CppFunction::makeFallthrough());
  m.impl("rbm_path_at", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
