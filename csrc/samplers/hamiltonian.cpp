#include "csrc/samplers/hamiltonian.h"

#include "csrc/common/checks.h"
#include "csrc/common/parallel.h"
#include "csrc/common/per_chain.h"
#include "csrc/samplers/sole_owner.h"

namespace torch_ebm::detail {

namespace {

int64_t units_of(const at::Tensor& x) { return x.numel() / x.size(0); }

/// A weight of the shape of x, of one of its rows, or (), for the kernels.
template <typename T>
kernels::PerUnit<T> per_unit(const at::Tensor& weight, const at::Tensor& x) {
  const bool in_every_row = weight.numel() == x.numel();
  return {weight.const_data_ptr<T>(), in_every_row ? units_of(x) : 0, weight.dim() == 0};
}

/// Times () or (N,), in the dtype of x and contiguous, for the kernels.
at::Tensor times_for(const at::Tensor& x, const at::Tensor& time) {
  return time.to(x.scalar_type()).contiguous();
}

at::Tensor one_per_chain(const at::Tensor& x) {
  return at::empty({x.size(0)}, x.options().dtype(at::kDouble));
}

at::Tensor kinetic_energy(const at::Tensor& momentum, const at::Tensor& inverse_mass) {
  return sum_units(momentum.square() * inverse_mass) / 2;
}

}  // namespace

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
  const at::Tensor& x = point.x;
  if (!has_kernel(x)) {
    point.momentum = normal_like(x, draw) * deviation_;
    point.kinetic = kinetic_energy(point.momentum, inverse_mass_);
    return;
  }
  point.momentum =
      room_of(point.momentum.defined() ? std::move(point.momentum) : at::empty_like(x));
  point.kinetic = one_per_chain(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "draw_momentum", [&] {
    const auto deviation = per_unit<scalar_t>(deviation_, x);
    scalar_t* const p = point.momentum.mutable_data_ptr<scalar_t>();
    double* const kinetic = point.kinetic.mutable_data_ptr<double>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().draw_momentum(deviation, p, kinetic, rows, draw);
    });
  });
}

void Hamiltonian::kick_and_drift(PhasePoint& point, const at::Tensor& force, const at::Tensor& kick,
                                 const at::Tensor& drift) const {
  if (!has_kernel(point.x)) {
    point.momentum = point.momentum.addcmul(force, per_chain(kick, force));
    point.x = point.x.addcmul(inverse_mass_ * point.momentum, per_chain(drift, point.x));
    return;
  }
  const at::Tensor kicks = times_for(point.x, kick), drifts = times_for(point.x, drift);
  const at::Tensor x = std::exchange(point.x, room_of(point.x));
  const at::Tensor momentum = std::exchange(point.momentum, room_of(point.momentum));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "kick_and_drift", [&] {
    const kernels::LeapScales<scalar_t> scales{per_row<scalar_t>(kicks), per_row<scalar_t>(drifts),
                                               per_unit<scalar_t>(inverse_mass_, x)};
    const scalar_t* const from = x.const_data_ptr<scalar_t>();
    const scalar_t* const p = momentum.const_data_ptr<scalar_t>();
    const scalar_t* const slope = force.const_data_ptr<scalar_t>();
    scalar_t* const next = point.x.mutable_data_ptr<scalar_t>();
    scalar_t* const next_p = point.momentum.mutable_data_ptr<scalar_t>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().kick_and_drift(from, p, slope, scales, next, next_p, rows);
    });
  });
}

void Hamiltonian::kick(PhasePoint& point, const at::Tensor& time) const {
  if (!has_kernel(point.x)) {
    point.momentum = point.momentum.addcmul(point.score, per_chain(time, point.score));
    point.kinetic = kinetic_energy(point.momentum, inverse_mass_);
    return;
  }
  const at::Tensor times = times_for(point.x, time);
  const at::Tensor momentum = std::exchange(point.momentum, room_of(point.momentum));
  point.kinetic = one_per_chain(point.x);
  AT_DISPATCH_FLOATING_TYPES(momentum.scalar_type(), "kick", [&] {
    const auto kicks = per_row<scalar_t>(times);
    const auto inverse_mass = per_unit<scalar_t>(inverse_mass_, momentum);
    const scalar_t* const p = momentum.const_data_ptr<scalar_t>();
    const scalar_t* const slope = point.score.const_data_ptr<scalar_t>();
    scalar_t* const next_p = point.momentum.mutable_data_ptr<scalar_t>();
    double* const kinetic = point.kinetic.mutable_data_ptr<double>();
    parallel_rows(momentum.size(0), units_of(momentum), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().kick(p, slope, kicks, inverse_mass, next_p, kinetic, rows);
    });
  });
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
