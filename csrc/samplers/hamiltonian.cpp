#include "csrc/samplers/hamiltonian.h"

#include "csrc/common/checks.h"
#include "csrc/passes/leapfrog.h"

namespace torch_ebm::detail {

Position where_chains(const at::Tensor& mask, Position chosen, const Position& other) {
  return {where_chains(mask, std::move(chosen.x), other.x),
          at::where(mask, chosen.energy, other.energy),
          where_chains(mask, std::move(chosen.score), other.score)};
}

PhasePoint where_chains(const at::Tensor& mask, PhasePoint chosen, const PhasePoint& other) {
  at::Tensor momentum = where_chains(mask, std::move(chosen.momentum), other.momentum);
  at::Tensor kinetic = at::where(mask, chosen.kinetic, other.kinetic);
  return {where_chains(mask, Position(std::move(chosen)), other), momentum, kinetic};
}

Hamiltonian::Hamiltonian(const char* op, const Energy& energy, ChainRun& chains,
                         const std::optional<at::Tensor>& inverse_mass)
    : op_(op), energy_(energy), chains_(chains) {
  const at::Tensor& x = chains.x;
  check_finite(op, "x", x);
  if (!inverse_mass || !inverse_mass->defined()) {
    set_inverse_mass(at::ones({}, x.options()));
    return;
  }
  const auto shape = inverse_mass->sizes();
  TORCH_CHECK_VALUE(shape.empty() || shape == x.sizes() || shape == x.sizes().slice(1), op,
                    ": inverse_mass must have the shape of one state, ",
                    describe_shape(x.sizes().slice(1)), ", of all, ", describe_shape(x.sizes()),
                    ", or (), got ", describe_shape(shape));
  const at::Tensor given = inverse_mass->detach().to(x.options());
  check_finite(op, "inverse_mass", given);
  TORCH_CHECK_VALUE(given.gt(0).all().item<bool>(), op, ": inverse_mass must be positive, got ",
                    given.min().item<double>());
  set_inverse_mass(given);
}

void Hamiltonian::set_inverse_mass(const at::Tensor& inverse_mass) {
  inverse_mass_ = inverse_mass.contiguous();
  deviation_ = inverse_mass_.rsqrt();
}

Position Hamiltonian::at(const at::Tensor& x) const {
  chains_.within_step();
  const auto [energy, score] = energy_.value_and_score(x, chains_.beta);
  return {x, energy.to(at::kDouble), score.contiguous()};
}

PhasePoint Hamiltonian::start() const {
  PhasePoint point{at(chains_.x), {}, {}};
  check_chains_finite(op_, "energy", point.energy, 0);
  check_chains_finite(op_, "score", point.score, 0);
  return point;
}

void Hamiltonian::draw_momentum(PhasePoint& point, kernels::Draw draw) const {
  point.kinetic = passes::draw_momentum(point.x, deviation_, draw, point.momentum);
}

void Hamiltonian::kick_and_drift(PhasePoint& point, const at::Tensor& force, const at::Tensor& kick,
                                 const at::Tensor& drift) const {
  passes::kick_and_drift(force, kick, drift, inverse_mass_, point.x, point.momentum);
}

void Hamiltonian::kick(PhasePoint& point, const at::Tensor& time) const {
  point.kinetic = passes::kick(point.score, time, inverse_mass_, point.momentum);
}

PhasePoint Hamiltonian::leapfrog(PhasePoint point, const at::Tensor& step_size,
                                 int64_t n_steps) const {
  const at::Tensor half = step_size / 2;
  for (int64_t i = 0; i < n_steps; ++i) {
    kick_and_drift(point, point.score, i == 0 ? half : step_size, step_size);
    static_cast<Position&>(point) = at(point.x);
  }
  kick(point, half);
  return point;
}

}  // namespace torch_ebm::detail
