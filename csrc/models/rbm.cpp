#include "csrc/models/rbm.h"

#include <torch/library.h>
#include <torch/nn/init.h>

#include <typeinfo>

#include "csrc/common/checks.h"
#include "csrc/energy/held_energies.h"

namespace torch_ebm {

namespace detail {

void check_rbm_shapes(const char* op, const at::Tensor& weight, const at::Tensor& visible_bias,
                      const at::Tensor& hidden_bias) {
  check_floating(op, "weight", weight);
  check_shape(op, "weight", weight, {-1, -1}, "(V, H)");
  check_shape(op, "visible_bias", visible_bias, {weight.size(0)}, "(V,)");
  check_shape(op, "hidden_bias", hidden_bias, {weight.size(1)}, "(H,)");
  check_same_type(op, "visible_bias", visible_bias, "weight", weight);
  check_same_type(op, "hidden_bias", hidden_bias, "weight", weight);
}

void check_has_units(const char* op, const at::Tensor& weight) {
  TORCH_CHECK_VALUE(weight.numel() > 0, op,
                    ": weight must be that of at least one unit in a layer, got ",
                    describe_shape(weight.sizes()));
}

void check_rbm_finite(const char* op, const at::Tensor& weight, const at::Tensor& visible_bias,
                      const at::Tensor& hidden_bias) {
  check_finite(op, "weight", weight);
  check_finite(op, "visible_bias", visible_bias);
  check_finite(op, "hidden_bias", hidden_bias);
}

void check_keeps_energy(const char* op, const RBMImpl& rbm) {
  TORCH_CHECK_NOT_IMPLEMENTED(rbm.keeps_energy(), op,
                              ": a class derived from RBM may have another energy; use a function "
                              "that takes any Energy, or "
                              "override keeps_energy if its energy is RBM's");
}

at::Tensor hidden_input(const at::Tensor& visible, const at::Tensor& weight,
                        const at::Tensor& hidden_bias) {
  return at::addmm(hidden_bias, visible, weight);
}

}  // namespace detail

namespace {

void check_visible(const char* op, const at::Tensor& visible, const at::Tensor& weight) {
  detail::check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
}

void check_hidden(const char* op, const at::Tensor& hidden, const at::Tensor& weight) {
  detail::check_shape(op, "hidden", hidden, {-1, weight.size(1)}, "(N, H)");
  detail::check_same_type(op, "hidden", hidden, "weight", weight);
}

constexpr double kInitialWeightScale = 0.01;

int64_t hold_rbm(const at::Tensor& weight, const at::Tensor& visible_bias,
                 const at::Tensor& hidden_bias) {
  return detail::hold(RBMImpl::over(weight, visible_bias, hidden_bias));
}

}  // namespace

RBMImpl::RBMImpl(int64_t n_visible, int64_t n_hidden) : n_visible_(n_visible), n_hidden_(n_hidden) {
  detail::check_at_least("RBM", "n_visible", n_visible, 1);
  detail::check_at_least("RBM", "n_hidden", n_hidden, 1);
  RBMImpl::reset();
}

RBMImpl::RBMImpl(const at::Tensor& weight_values, const at::Tensor& visible_values,
                 const at::Tensor& hidden_values) {
  detail::check_rbm_shapes("RBM", weight_values, visible_values, hidden_values);
  n_visible_ = weight_values.size(0);
  n_hidden_ = weight_values.size(1);
  detail::check_at_least("RBM", "n_visible", n_visible_, 1);
  detail::check_at_least("RBM", "n_hidden", n_hidden_, 1);
  RBMImpl::reset();
  to(weight_values.device(), weight_values.scalar_type());
  const at::NoGradGuard no_grad;
  weight.copy_(weight_values);
  visible_bias.copy_(visible_values);
  hidden_bias.copy_(hidden_values);
}

std::shared_ptr<RBMImpl> RBMImpl::over(at::Tensor weight, at::Tensor visible_bias,
                                       at::Tensor hidden_bias) {
  detail::check_rbm_shapes("RBM", weight, visible_bias, hidden_bias);
  const std::shared_ptr<RBMImpl> rbm(new RBMImpl);
  rbm->n_visible_ = weight.size(0);
  rbm->n_hidden_ = weight.size(1);
  rbm->weight = std::move(weight);
  rbm->visible_bias = std::move(visible_bias);
  rbm->hidden_bias = std::move(hidden_bias);
  return rbm;
}

void RBMImpl::reset() {
  weight = register_parameter("weight", at::empty({n_visible_, n_hidden_}));
  visible_bias = register_parameter("visible_bias", at::zeros({n_visible_}));
  hidden_bias = register_parameter("hidden_bias", at::zeros({n_hidden_}));
  torch::nn::init::normal_(weight, 0, kInitialWeightScale);
}

void RBMImpl::pretty_print(std::ostream& stream) const {
  stream << "torch_ebm::RBM(n_visible=" << n_visible_ << ", n_hidden=" << n_hidden_ << ")";
}

bool RBMImpl::keeps_energy() const { return typeid(*this) == typeid(RBMImpl); }

at::Tensor RBMImpl::forward(const at::Tensor& visible) const {
  return rbm_free_energy(visible, weight, visible_bias, hidden_bias);
}

at::Tensor RBMImpl::energy(const at::Tensor& visible, const at::Tensor& hidden) const {
  return rbm_energy(visible, hidden, weight, visible_bias, hidden_bias);
}

at::Tensor RBMImpl::hidden_given_visible(const at::Tensor& visible) const {
  check_visible("RBM.hidden_given_visible", visible, weight);
  return at::sigmoid(detail::hidden_input(visible, weight, hidden_bias));
}

at::Tensor RBMImpl::visible_given_hidden(const at::Tensor& hidden) const {
  check_hidden("RBM.visible_given_hidden", hidden, weight);
  return at::sigmoid(detail::hidden_input(hidden, weight.t(), visible_bias));
}

at::Tensor RBMImpl::log_z() const {
  detail::check_keeps_energy("RBM.log_z", *this);
  return rbm_log_z(weight, visible_bias, hidden_bias);
}

std::tuple<at::Tensor, at::Tensor> RBMImpl::value_and_score(const at::Tensor& x) const {
  if (!keeps_energy()) return EnergyFunction::value_and_score(x);
  const at::NoGradGuard no_grad;
  const at::Tensor score =
      at::addmm(visible_bias, hidden_given_visible(x), weight.t());  // b + W sigmoid(c + v W)
  return {forward(x), score};
}

std::optional<at::Tensor> RBMImpl::tempered(const at::Tensor& x, const at::Tensor& beta) const {
  if (!keeps_energy()) return std::nullopt;
  return rbm_free_energy(x, weight, visible_bias, hidden_bias, beta);
}

bool RBMImpl::has_path(const at::Tensor& x) const {
  return keeps_energy() || EnergyFunction::has_path(x);
}

std::optional<at::Tensor> RBMImpl::gibbs(const at::Tensor& x, const RunOptions& run,
                                         const std::optional<at::Tensor>& clamp) const {
  if (!keeps_energy()) return std::nullopt;
  return std::get<0>(rbm_gibbs(x, weight, visible_bias, hidden_bias, run, clamp));
}

std::optional<at::Tensor> RBMImpl::flip_differences(const at::Tensor& x,
                                                    const std::optional<at::Tensor>& sites) const {
  if (!keeps_energy()) return std::nullopt;
  return rbm_flip_differences(x, weight, visible_bias, hidden_bias, sites);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) { m.impl("_hold_rbm", &hold_rbm); }

}  // namespace torch_ebm
