"""Concrete score matching of discrete data."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from .criterion import Reduction, run_criterion
from .energy import Energy


@torch.compiler.disable
def concrete_score_matching(
    energy: Energy,
    x: Tensor,
    *,
    categorical: bool = False,
    n_sites: Optional[int] = None,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Concrete score matching (Meng, Choi, Song & Ermon 2022) of discrete data. The concrete score
    of a law p at x has an entry p(x') / p(x) - 1 for each state x' that differs from x in one site.
    With d = E(x') - E(x)::

        l(x) = sum over x' of exp(-2 d) - 2 exp(d) + 1

    Its expectation is the squared distance of the model's and the data's concrete scores less the
    mean square of the data's.

    Consistent, but the term of an example alone has no lower bound: it falls as the energy of a
    neighbour x' rises, as -2 exp(d), and only the term of x' itself, if x' is an example too, stops
    it. So it needs data that hold all neighbours of each example: few sites, and many examples.
    Elsewhere, and where differences of energies are large, for they count exponentially, take
    :func:`torch_ebm.pseudolikelihood` or :func:`torch_ebm.ratio_matching`, which have a lower
    bound.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: zeros and ones, (N, ...), or, if ``categorical``, one-hot, (N, ..., K); floating.
        categorical: the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
        n_sites: estimate the sum, without bias, from that many sites of every example, drawn
            without replacement. Default: all.
        chunk_size: how many states ``energy`` is asked for at a time; see
            :func:`torch_ebm.pseudolikelihood`.
        weights, reduction, generator: see :mod:`torch_ebm.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: states that are not as said above, or options out of range.
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
