"""log Z by numerical integration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument


class QuadratureLogZ(NamedTuple):
    """log Z of a continuous energy on a box; all tensors in float64, shape ()."""

    log_z: Tensor
    error: Tensor
    """|log_z - the same with half as many points per side|: a bound for a smooth energy."""
    border: Tensor
    """The highest density at the border over the highest of all: 0 if the box holds the mass."""


@torch.compiler.disable
@names_wrong_types
def quadrature_log_z(
    energy: Energy,
    low: Sequence[float],
    high: Sequence[float],
    *,
    n_panels: Optional[int] = None,
    dtype: Optional[torch.dtype] = None,
    device: Optional[torch.device] = None,
) -> QuadratureLogZ:
    """log Z of an energy of states of shape (d,), d of 1, 2 or 3, on the box low <= x <= high.

    A sum over a grid with ``n_panels`` panels of 16 Gauss-Legendre points in every dimension, in
    batches of at most 16384 states. Deterministic, without gradient. For smooth energies the error
    falls exponentially as panels are added, until only that of ``dtype`` is left. ``error`` shows
    whether there are enough panels. ``border`` shows whether the box is large enough, for an energy
    that extends beyond it.

    Args:
        low, high: corners of the box, d finite numbers each.
        n_panels: per side; default 64, 32 or 8, that is 1024, 512^2 or 128^3 points.
        dtype, device: of the states that ``energy`` is given; default: torch's defaults.

    Raises:
        ValueError: a ``low`` that is not below its ``high``, ``n_panels`` not between 1 and 65536,
            an energy that is NaN or -inf, or +inf (which forbids a state) in the whole box.
    """
    with as_argument(energy) as argument:
        return QuadratureLogZ(
            *torch.ops.torch_ebm.quadrature_log_z(
                argument,
                [float(x) for x in low],
                [float(x) for x in high],
                n_panels=n_panels,
                dtype=dtype or torch.get_default_dtype(),
                device=torch.device(device) if device is not None else torch.device("cpu"),
            )
        )
