"""Minimum probability flow of discrete data."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def minimum_probability_flow(
    energy: Energy,
    x: Tensor,
    *,
    categorical: Optional[bool] = None,
    n_sites: Optional[int] = None,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Minimum probability flow (Sohl-Dickstein, Battaglino & DeWeese 2011) of discrete data::

        l(x) = sum over the states x' that differ from x in one site of exp((E(x) - E(x')) / 2)

    This is the rate at which probability leaves x under dynamics that leave the model invariant.
    The paper leaves out flow into states that are data themselves. Here every neighbour counts, as
    is common, so that the term of an example does not depend on the other examples.

    Consistent: with r = exp((E(x) - E(x')) / 2), two neighbours under a distribution p give
    p(x) r + p(x') / r, which is smallest at r^2 = p(x') / p(x). It fails as the pseudolikelihood
    does, since only neighbours are compared. A neighbour of far lower energy than an example counts
    exponentially, where the pseudolikelihood counts it linearly.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: zeros and ones, (N, ...), or, if ``categorical``, one-hot, (N, ..., K); floating.
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        n_sites: estimate the sum, without bias, from this many sites of every example, drawn
            without replacement. Default: all.
        chunk_size: how many states ``energy`` is given at a time; see
            :func:`torch_ebm.pseudolikelihood`.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: states other than those described above, or options out of range.
    """
    return run_criterion(
        "minimum_probability_flow",
        energy,
        x,
        categorical=categorical,
        n_sites=n_sites,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
