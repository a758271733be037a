#pragma once
// The passes of Hamiltonian dynamics. x, momentum and score: (N, ...), contiguous, of one floating dtype and device;
// inverse_mass and deviation: contiguous, of that dtype and device, of the shape of x, of one state, or (). Times: ()
// or (N,), of any dtype and device. What a pass replaces keeps its memory where nothing else holds it.

#include <ATen/ATen.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::passes {

/// momentum <- deviation xi, with the xi of normal_like(x, draw). `momentum` may be undefined. Returns the kinetic
/// energies xi.xi / 2, (N,), float64.
at::Tensor draw_momentum(const at::Tensor& x, const at::Tensor& deviation, kernels::Draw draw,
                         at::Tensor& momentum);

/// momentum <- momentum + kick force, then x <- x + drift inverse_mass momentum.
void kick_and_drift(const at::Tensor& force, const at::Tensor& kick, const at::Tensor& drift,
                    const at::Tensor& inverse_mass, at::Tensor& x, at::Tensor& momentum);

/// momentum <- momentum + time force. Returns the kinetic energies momentum inverse_mass momentum / 2, (N,), float64.
at::Tensor kick(const at::Tensor& force, const at::Tensor& time, const at::Tensor& inverse_mass,
                at::Tensor& momentum);

}  // namespace torch_ebm::passes
