#include "csrc/models/boltzmann_machine.h"

#include <torch/library.h>
#include <torch/nn/init.h>

#include <typeinfo>

#include "csrc/common/checks.h"
#include "csrc/energy/held_energies.h"

namespace torch_ebm {

namespace detail {

at::Tensor coupling(const at::Tensor& weight) {
  const at::Tensor off_diagonal = at::tril(weight, -1) + at::triu(weight, 1);
  return 0.5 * off_diagonal + 0.5 * off_diagonal.t();  // halves first: their sum cannot overflow
}

}  // namespace detail

namespace {

constexpr const char* kBoltzmannMachine = "BoltzmannMachine";
constexpr double kInitialCouplingScale = 0.01;

/// The number of units of a machine with these parameters.
int64_t checked_units(const at::Tensor& weight, const at::Tensor& bias) {
  detail::check_floating(kBoltzmannMachine, "weight", weight);
  detail::check_shape(kBoltzmannMachine, "weight", weight, {-1, -1}, "(D, D)");
  const int64_t n_units = weight.size(0);
  detail::check_shape(kBoltzmannMachine, "weight", weight, {n_units, n_units}, "(D, D)");
  detail::check_shape(kBoltzmannMachine, "bias", bias, {n_units}, "(D,)");
  detail::check_same_type(kBoltzmannMachine, "bias", bias, "weight", weight);
  return n_units;
}

int64_t hold_machine(const at::Tensor& weight, const at::Tensor& bias) {
  return detail::hold(BoltzmannMachineImpl::over(weight, bias));
}

/// A machine with a bias for every chain, (N, D), or for all, (D,).
class BoltzmannInField : public EnergyFunction {
 public:
  BoltzmannInField(at::Tensor weight, at::Tensor bias)
      : weight_(std::move(weight)), bias_(std::move(bias)) {}

  at::Tensor value(const at::Tensor& x) const override {
    return boltzmann_energy(x, weight_, at::zeros_like(weight_.select(0, 0))) - (x * bias_).sum(1);
  }

  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override {
    return boltzmann_gibbs(x, weight_, bias_, run, clamp);
  }

  std::optional<at::Tensor> random_scan_gibbs(
      const at::Tensor& x, const RunOptions& run,
      const std::optional<at::Tensor>& clamp) const override {
    return boltzmann_random_scan_gibbs(x, weight_, bias_, run, clamp);
  }

  std::optional<std::tuple<at::Tensor, at::Tensor>> gibbs_with_gradients(
      const at::Tensor& x, const RunOptions& run) const override {
    return boltzmann_gibbs_with_gradients(x, weight_, bias_, run);
  }

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

}  // namespace

BoltzmannMachineImpl::BoltzmannMachineImpl(int64_t n_units) : n_units_(n_units) {
  detail::check_at_least(kBoltzmannMachine, "n_units", n_units, 1);
  BoltzmannMachineImpl::reset();
}

BoltzmannMachineImpl::BoltzmannMachineImpl(const at::Tensor& weight_values,
                                           const at::Tensor& bias_values) {
  n_units_ = checked_units(weight_values, bias_values);
  detail::check_at_least(kBoltzmannMachine, "n_units", n_units_, 1);
  BoltzmannMachineImpl::reset();
  to(weight_values.device(), weight_values.scalar_type());
  const at::NoGradGuard no_grad;
  weight.copy_(weight_values);
  bias.copy_(bias_values);
}

std::shared_ptr<BoltzmannMachineImpl> BoltzmannMachineImpl::over(at::Tensor weight,
                                                                 at::Tensor bias) {
  const std::shared_ptr<BoltzmannMachineImpl> machine(new BoltzmannMachineImpl);
  machine->n_units_ = checked_units(weight, bias);
  machine->weight = std::move(weight);
  machine->bias = std::move(bias);
  return machine;
}

void BoltzmannMachineImpl::reset() {
  weight = register_parameter("weight", at::empty({n_units_, n_units_}));
  bias = register_parameter("bias", at::zeros({n_units_}));
  torch::nn::init::normal_(weight, 0, kInitialCouplingScale);
}

void BoltzmannMachineImpl::pretty_print(std::ostream& stream) const {
  stream << "torch_ebm::BoltzmannMachine(n_units=" << n_units_ << ")";
}

bool BoltzmannMachineImpl::keeps_energy() const {
  return typeid(*this) == typeid(BoltzmannMachineImpl);
}

at::Tensor BoltzmannMachineImpl::forward(const at::Tensor& x) const {
  return boltzmann_energy(x, weight, bias);
}

std::tuple<at::Tensor, at::Tensor> BoltzmannMachineImpl::value_and_score(
    const at::Tensor& x) const {
  if (!keeps_energy()) return EnergyFunction::value_and_score(x);
  const at::NoGradGuard no_grad;
  const at::Tensor energy = forward(x);  // first: it checks x
  return {energy, at::addmm(bias, x, detail::coupling(weight))};
}

std::optional<at::Tensor> BoltzmannMachineImpl::gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  if (!keeps_energy()) return std::nullopt;
  return boltzmann_gibbs(x, weight, bias, run, clamp);
}

std::optional<at::Tensor> BoltzmannMachineImpl::random_scan_gibbs(
    const at::Tensor& x, const RunOptions& run, const std::optional<at::Tensor>& clamp) const {
  if (!keeps_energy()) return std::nullopt;
  return boltzmann_random_scan_gibbs(x, weight, bias, run, clamp);
}

std::optional<std::tuple<at::Tensor, at::Tensor>> BoltzmannMachineImpl::gibbs_with_gradients(
    const at::Tensor& x, const RunOptions& run) const {
  if (!keeps_energy()) return std::nullopt;
  return boltzmann_gibbs_with_gradients(x, weight, bias, run);
}

std::optional<at::Tensor> BoltzmannMachineImpl::flip_differences(
    const at::Tensor& x, const std::optional<at::Tensor>& sites) const {
  if (!keeps_energy()) return std::nullopt;
  return boltzmann_flip_differences(x, weight, bias, sites);
}

std::shared_ptr<const EnergyFunction> BoltzmannMachineImpl::in_field(
    const at::Tensor& field) const {
  if (!keeps_energy()) return nullptr;
  return std::make_shared<BoltzmannInField>(weight.detach().to(field), bias.detach() + field);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("_hold_boltzmann_machine", &hold_machine);
}

}  // namespace torch_ebm
