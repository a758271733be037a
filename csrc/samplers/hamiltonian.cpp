#include "csrc/samplers/hamiltonian.h"

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

PhasePoint PhasePoint::where(const at::Tensor& mask, const PhasePoint& other) const {
  return {where_chains(mask, x, other.x), at::where(mask, energy, other.energy),
          where_chains(mask, score, other.score), where_chains(mask, momentum, other.momentum)};
}

Hamiltonian::Hamiltonian(const char* op, const Energy& energy, const ChainRun& chains,
                         const std::optional<at::Tensor>& inverse_mass)
    : op_(op), energy_(energy), chains_(chains) {
  const at::Tensor& x = chains.x;
  check_finite(op, "x", x);
  if (!inverse_mass || !inverse_mass->defined()) {
    inverse_mass_ = at::ones({}, x.options());
    return;
  }
  const auto shape = inverse_mass->sizes();
  TORCH_CHECK_VALUE(shape.empty() || shape == x.sizes() || shape == x.sizes().slice(1), op,
                    ": inverse_mass must have the shape of one state, ",
                    describe_shape(x.sizes().slice(1)), ", of all, ", describe_shape(x.sizes()),
                    ", or (), got ", describe_shape(shape));
  inverse_mass_ = inverse_mass->detach().to(x.options());
  check_finite(op, "inverse_mass", inverse_mass_);
  TORCH_CHECK_VALUE(inverse_mass_.gt(0).all().item<bool>(), op,
                    ": inverse_mass must be positive, got ", inverse_mass_.min().item<double>());
}

PhasePoint Hamiltonian::at(const at::Tensor& x) const {
  const auto [energy, score] = energy_.value_and_score(x, chains_.beta);
  return {x, energy.to(at::kDouble), score, {}};
}

PhasePoint Hamiltonian::start() const {
  PhasePoint point = at(chains_.x);
  check_chains_finite(op_, "energy", point.energy, 0);
  check_chains_finite(op_, "score", point.score, 0);
  return point;
}

at::Tensor Hamiltonian::momentum(kernels::Draw draw) const {
  return normal_like(chains_.x, draw).div_(inverse_mass_.sqrt());
}

at::Tensor Hamiltonian::drift(const at::Tensor& x, const at::Tensor& momentum,
                              const at::Tensor& time) const {
  return x.addcmul(momentum * inverse_mass_, per_chain(time, x));
}

at::Tensor Hamiltonian::total(const PhasePoint& point) const {
  return point.energy + 0.5 * sum_units(point.momentum.square() * inverse_mass_);
}

PhasePoint Hamiltonian::leapfrog(const PhasePoint& point, const at::Tensor& step_size) const {
  const at::Tensor half = per_chain(step_size / 2, point.x);
  const at::Tensor momentum = point.momentum.addcmul(point.score, half);
  PhasePoint next = at(drift(point.x, momentum, step_size));
  next.momentum = momentum.addcmul(next.score, half);
  return next;
}

}  // namespace torch_ebm::detail
