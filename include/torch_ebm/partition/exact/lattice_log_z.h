#pragma once

#include <ATen/ATen.h>

#include <array>
#include <optional>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// Exact log Z of a lattice of L x W sites with Q states each and energies between neighbours,
///     E(s) = sum_lw site[l, w, s_lw] + sum_lw along[l, w, s_lw, s_(l+1)w]
///          + sum_lw across[l, w, s_lw, s_l(w+1)],
/// by a transfer matrix, site by site and in log space, so that no range of energies is too wide:
/// float64, shape ().
///
/// site_energy: (L, W, Q). along: (L - 1, W, Q, Q) for free ends, (L, W, Q, Q) for a lattice that
/// is periodic in its length. across: (L, W - 1, Q, Q) or (L, W, Q, Q), the same for the width. A
/// periodic side of 2 counts its bond twice, one of 1 couples a site to itself. An energy of +inf
/// forbids a state; NaN stays NaN.
///
/// Differentiable any number of times: the gradient in the energies is minus the probabilities of
/// states and of pairs of states. A free length takes O(L W Q^(W+1)) time, and as much memory if
/// gradients are needed; a periodic one O(L W Q^(2W+1)). Length and width are exchanged if that is
/// cheaper. Throws ValueError for other shapes, and if there are more than 2^24 states of a row, or
/// pairs of states if the length is periodic.
TORCH_EBM_API at::Tensor lattice_log_z(const at::Tensor& site_energy, const at::Tensor& along,
                                       const at::Tensor& across);

/// The same for Ising spins +-1 with E(s) = -coupling sum_<ij> s_i s_j - field sum_i s_i.
/// `coupling` and `field` are numbers, shape (), that include the inverse temperature. `size` and
/// `periodic`: for the length and the width.
TORCH_EBM_API at::Tensor ising_log_z(const at::Tensor& coupling,
                                     const std::optional<at::Tensor>& field,
                                     std::array<int64_t, 2> size,
                                     std::array<bool, 2> periodic = {true, true});

}  // namespace torch_ebm
