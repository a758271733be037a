"""Concrete score matching of discrete data."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def concrete_score_matching(
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
    """Concrete score matching (Meng, Choi, Song & Ermon 2022) of discrete data. The concrete score
    of a distribution p at x has an entry p(x') / p(x) - 1 for each state x' that differs from x in
    one site. With d = E(x') - E(x)::

        l(x) = sum over x' of exp(-2 d) - 2 exp(d) + 1

    Its expectation is the squared distance between the model's and the data's concrete scores,
    minus the mean square of the data's.

    Consistent, but the term of a single example has no lower bound: it falls as -2 exp(d) as the
    energy of a neighbour x' rises, and only the term of x' itself, if x' is an example too, stops
    it. The criterion therefore needs data that contain all neighbours of each example: few sites
    and many examples. Energy differences count exponentially. Where they are large, or neighbours
    are missing, use :func:`torch_ebm.pseudolikelihood` or :func:`torch_ebm.ratio_matching`, which
    have a lower bound.

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
        "concrete_score_matching",
        energy,
        x,
        categorical=categorical,
        n_sites=n_sites,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
