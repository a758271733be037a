"""log Z of two-dimensional lattices, by a transfer matrix."""

from __future__ import annotations

from typing import Union

import torch
from torch import Tensor

from ... import _library  # noqa: F401
from ...common._wrong_types import names_wrong_types


@names_wrong_types
def lattice_log_z(site_energy: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """Exact log Z of a lattice of L x W sites with Q states each and energies between neighbours::

        E(s) = sum_lw site_energy[l, w, s[l, w]]
             + sum_lw along[l, w, s[l, w], s[l + 1, w]]
             + sum_lw across[l, w, s[l, w], s[l, w + 1]]

    Computed by a transfer matrix, site by site and in log space, so that no range of energies is
    too wide. Takes O(L W Q^(W + 1)) time, or O(L W Q^(2 W + 1)) if the length is periodic; length
    and width are exchanged if that is cheaper. A periodic length of equal rows takes powers of the
    matrix between two rows instead, O(log(L) Q^(3 W)) time at the speed of matrix products, on the
    CPU where no gradient is asked for. Differentiable any number of times: the gradient in
    the energies is minus the probability of each state and of each pair of states. It takes as much
    memory as time. A chain or a ring is a lattice of width 1, with ``across`` of shape
    (L, 0, Q, Q).

    Args:
        site_energy: (L, W, Q). Here and below, +inf forbids a state; NaN stays NaN.
        along: (L - 1, W, Q, Q), or (L, W, Q, Q) if the lattice is periodic in its length.
        across: (L, W - 1, Q, Q), or (L, W, Q, Q) if it is periodic in its width. A periodic
            side of 2 counts its bond twice, and one of 1 couples a site to itself.

    Returns:
        One number, shape (), float64.

    Raises:
        ValueError: other shapes, or more than 2^24 states of a row (Q^W), or of a pair of rows if
            the length is periodic (Q^(2 W)).
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.lattice_log_z(site_energy, along, across)


@names_wrong_types
def ising_log_z(
    coupling: Union[float, Tensor],
    field: Union[float, Tensor] = 0.0,
    *,
    size: tuple[int, int],
    periodic: tuple[bool, bool] = (True, True),
) -> Tensor:
    """Exact log Z of the Ising model of spins +-1 on a lattice.

    E(s) = -coupling sum_<ij> s_i s_j - field sum_i s_i, where <ij> are the pairs of neighbours.
    Both parameters include the inverse temperature. The gradients of log Z in them are the
    expectations of the two sums. :func:`lattice_log_z` gives the costs and limits (a torus of 12 x
    12, free ends up to a width of 24), and handles couplings that differ between bonds. A torus
    takes powers of the matrix between two rows, with gradients too.

    Args:
        coupling, field: numbers, or tensors of shape ().
        size: length and width.
        periodic: in the length and in the width.

    Returns:
        One number, shape (), float64.

    Raises:
        ValueError: sides less than 1, or a lattice that is too large.
    """
    coupling = torch.as_tensor(coupling, dtype=torch.float64)
    field = torch.as_tensor(field, dtype=torch.float64)
    return torch.ops.torch_ebm.ising_log_z(coupling, field, size, periodic=periodic)
