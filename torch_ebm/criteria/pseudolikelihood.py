"""The pseudolikelihood of discrete data."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def pseudolikelihood(
    energy: Energy,
    x: Tensor,
    *,
    categorical: Optional[bool] = None,
    blocks: Optional[Tensor] = None,
    n_sites: Optional[int] = None,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """The negative log pseudolikelihood (Besag 1975) of discrete data::

        l(x) = -sum_i log p(x_i | x_-i)
             = sum_i log(1 + sum over the other states of site i of exp(E(x) - E(x')))

    With ``blocks`` it is the composite likelihood, -sum_b log p(x_b | the other sites) (Lindsay
    1988): the generalised pseudolikelihood if the blocks cover the sites, and the conditional
    likelihood of some sites given the others if there is one block.

    Consistent, as every conditional log-likelihood is. It fails where conditionals say little about
    the joint distribution: the weights of modes that are far apart are not learned.

    An energy with a method ``flip_differences``, such as an RBM, computes the differences of single
    bits itself; any other is called for the neighbours of x.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: zeros and ones, (N, ...), or, if ``categorical``, one-hot, (N, ..., K); floating.
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        blocks: integers, (B, k): rows of sites, numbered in the order of memory, whose joint
            conditional distribution is used; no site twice in a row, and K^k (2^k) must be at most
            4096. Default: every site alone.
        n_sites: estimate the sum, without bias, from this many sites (or blocks) of every example,
            drawn without replacement. Default: all.
        chunk_size: about how many states ``energy`` is given at a time, at least those of one site
            (or block). No graph is then kept: the backward pass recomputes the energies, with the
            memory of one call. Until then the energy must not change (no dropout, no other mode or
            precision, no ``functional_call``, no compiled energy). Hooks of parameters run in every
            call. Default: as many states as hold about 2^20 numbers, with the graph of all.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        TypeError: ``blocks`` that are not integers.
        ValueError: states other than those described above, invalid blocks, or options out of
            range.
    """
    return run_criterion(
        "pseudolikelihood",
        energy,
        x,
        categorical=categorical,
        blocks=blocks,
        n_sites=n_sites,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
