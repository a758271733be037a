"""log Z by enumeration."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from .energy import Energy, as_argument


@torch.compiler.disable
def exact_log_z(
    energy: Energy,
    n_units: int,
    *,
    dtype: Optional[torch.dtype] = None,
    device: Optional[torch.device] = None,
) -> Tensor:
    """log Z of a binary energy, by summing over all 2^n_units states x of shape (n_units,).

    Exact, in float64, without gradient. Energies are evaluated in batches of at most 16384 states.
    For an RBM, :meth:`torch_ebm.RBM.log_z` sums over the smaller layer instead.

    Args:
        dtype, device: of the states that ``energy`` is given; default: torch's defaults.

    Raises:
        ValueError: ``n_units`` not between 1 and 25, or an energy that is NaN or -inf.
    """
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm.exact_log_z(
            argument,
            n_units,
            dtype=dtype or torch.get_default_dtype(),
            device=torch.device(device) if device is not None else torch.device("cpu"),
        )
