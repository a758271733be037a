#pragma once

#include "csrc/criteria/criterion.h"
#include "torch_ebm/energy/noise.h"

namespace torch_ebm::detail {

/// Throws unless `noise` has samples for every example: (N, nu, ...), nu >= 1, finite, like x.
void check_noise(const Criterion& criterion, const at::Tensor& noise);

/// Throws unless `values`, (N,) or (N, nu), are floating and finite; names the first example where they are not.
void check_log_densities(const char* op, const char* name, const at::Tensor& values,
                         std::vector<int64_t> shape, const char* symbols);

/// The energies of the examples, in column 0, and of their noise: (N, 1 + nu).
at::Tensor energies_beside_noise(const Criterion& criterion, const Energy& energy,
                                 const at::Tensor& noise);

/// -E(u) - log p_noise(u) of the examples, in column 0, and of their noise: (N, 1 + nu). Checks the noise.
at::Tensor log_ratios_to_noise(const Criterion& criterion, const Energy& energy,
                               const NoiseSamples& noise);

}  // namespace torch_ebm::detail
