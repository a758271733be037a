"""log Z by enumeration."""

from __future__ import annotations

import itertools
from typing import Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument


@torch.compiler.disable
@names_wrong_types
def exact_log_z(
    energy: Energy,
    n_units: int,
    n_categories: Optional[int] = None,
    *,
    dtype: Optional[torch.dtype] = None,
    device: Optional[torch.device] = None,
) -> Tensor:
    """log Z of a discrete energy, by summing over all its states: 2^n_units binary ones, of shape
    (n_units,), or ``n_categories``^n_units one-hot ones, of shape (n_units, n_categories).

    Exact, in float64, without gradient; -inf if every state is forbidden. Energies are evaluated in
    batches of at most 16384 states. For an RBM, :meth:`torch_ebm.RBM.log_z` sums over the smaller
    layer instead. For nearest-neighbour lattices, :func:`torch_ebm.lattice_log_z` handles far more
    sites.

    Args:
        dtype, device: of the states that ``energy`` is given; default: those of its first floating
            parameter or buffer, if it is a module that has one, else torch's defaults.

    Raises:
        ValueError: ``n_units`` not between 1 and 25, more than 2^25 states, ``n_categories`` < 2,
            or an energy that is NaN or -inf.
    """
    like = _first_floating(energy)
    dtype = dtype or like.dtype
    device = torch.device(device) if device is not None else like.device
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm.exact_log_z(
            argument,
            n_units,
            n_categories=n_categories,
            dtype=dtype,
            device=device,
        )


def _first_floating(energy: Energy) -> Tensor:
    """The first floating parameter or buffer of a module, or an empty tensor."""
    if isinstance(energy, torch.nn.Module):
        for tensor in itertools.chain(energy.parameters(), energy.buffers()):
            if tensor.is_floating_point():
                return tensor
    return torch.empty(0, device="cpu")
