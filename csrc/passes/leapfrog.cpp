#include "csrc/passes/leapfrog.h"

#include <ATen/Dispatch.h>

#include <utility>

#include "csrc/passes/form.h"
#include "csrc/passes/noise.h"
#include "csrc/passes/parallel.h"
#include "csrc/passes/pointers.h"
#include "csrc/passes/sole_owner.h"

namespace torch_ebm::passes {

namespace {

at::Tensor kinetic_energy(const at::Tensor& momentum, const at::Tensor& inverse_mass) {
  const at::Tensor of_units = momentum.square() * inverse_mass;
  return of_units.reshape({of_units.size(0), -1}).sum(1, /*keepdim=*/false, at::kDouble) / 2;
}

}  // namespace

at::Tensor draw_momentum(const at::Tensor& x, const at::Tensor& deviation, kernels::Draw draw,
                         at::Tensor& momentum) {
  if (!kernels_take(x)) {
    const at::Tensor normal = normal_like(x, draw);
    momentum = normal * deviation;
    return kinetic_energy(normal, at::ones({}, x.options()));
  }
  momentum = room_of(momentum.defined() ? std::move(momentum) : at::empty_like(x));
  at::Tensor kinetic = one_per_chain(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "draw_momentum", [&] {
    const auto scale = per_unit<scalar_t>(deviation, x);
    scalar_t* const p = momentum.mutable_data_ptr<scalar_t>();
    double* const of_chain = kinetic.mutable_data_ptr<double>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().draw_momentum(scale, p, of_chain, rows, draw);
    });
  });
  return kinetic;
}

void kick_and_drift(const at::Tensor& force, const at::Tensor& kick, const at::Tensor& drift,
                    const at::Tensor& inverse_mass, at::Tensor& x, at::Tensor& momentum) {
  if (!kernels_take(x)) {
    momentum = momentum.addcmul(force, along(force, kick));
    x = x.addcmul(inverse_mass * momentum, along(x, drift));
    return;
  }
  const at::Tensor kicks = beside(x, kick), drifts = beside(x, drift);
  const at::Tensor old_x = std::exchange(x, room_of(x));
  const at::Tensor old_momentum = std::exchange(momentum, room_of(momentum));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "kick_and_drift", [&] {
    const kernels::LeapScales<scalar_t> scales{per_row<scalar_t>(kicks), per_row<scalar_t>(drifts),
                                               per_unit<scalar_t>(inverse_mass, old_x)};
    const scalar_t* const from = old_x.const_data_ptr<scalar_t>();
    const scalar_t* const p = old_momentum.const_data_ptr<scalar_t>();
    const scalar_t* const slope = force.const_data_ptr<scalar_t>();
    scalar_t* const next = x.mutable_data_ptr<scalar_t>();
    scalar_t* const next_p = momentum.mutable_data_ptr<scalar_t>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().kick_and_drift(from, p, slope, scales, next, next_p, rows);
    });
  });
}

at::Tensor kick(const at::Tensor& force, const at::Tensor& time, const at::Tensor& inverse_mass,
                at::Tensor& momentum) {
  if (!kernels_take(momentum)) {
    momentum = momentum.addcmul(force, along(force, time));
    return kinetic_energy(momentum, inverse_mass);
  }
  const at::Tensor times = beside(momentum, time);
  const at::Tensor old_momentum = std::exchange(momentum, room_of(momentum));
  at::Tensor kinetic = one_per_chain(momentum);
  AT_DISPATCH_FLOATING_TYPES(momentum.scalar_type(), "kick", [&] {
    const auto kicks = per_row<scalar_t>(times);
    const auto weight = per_unit<scalar_t>(inverse_mass, momentum);
    const scalar_t* const p = old_momentum.const_data_ptr<scalar_t>();
    const scalar_t* const slope = force.const_data_ptr<scalar_t>();
    scalar_t* const next_p = momentum.mutable_data_ptr<scalar_t>();
    double* const of_chain = kinetic.mutable_data_ptr<double>();
    parallel_rows(momentum.size(0), units_of(momentum), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().kick(p, slope, kicks, weight, next_p, of_chain, rows);
    });
  });
  return kinetic;
}

}  // namespace torch_ebm::passes
