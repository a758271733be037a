"""Ratio matching of binary data."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def ratio_matching(
    energy: Energy,
    x: Tensor,
    *,
    n_sites: Optional[int] = None,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Ratio matching (Hyvärinen 2007, equation 17) of binary data::

        l(x) = sum_i g(p(x) / p(x^i))^2 = sum_i sigmoid(E(x) - E(x^i))^2,     g(u) = 1 / (1 + u)

    where x^i is x with unit i flipped. It is the sum over the units, not their mean.

    Consistent: up to a constant it is the squared distance between the model's and the data's
    ratios of neighbouring probabilities, after the transform g. It fails as the pseudolikelihood
    does, since only neighbours are compared.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: zeros and ones, (N, ...), floating.
        n_sites: estimate the sum, without bias, from this many units of every example, drawn
            without replacement. Default: all.
        chunk_size: how many states ``energy`` is given at a time; see
            :func:`torch_ebm.pseudolikelihood`.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: states other than 0 and 1, or options out of range.
    """
    return run_criterion(
        "ratio_matching",
        energy,
        x,
        n_sites=n_sites,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
