"""Gibbs sampling of any discrete energy."""

from __future__ import annotations

from typing import Literal, Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .sampler import Samples, own_sampler, run_sampler


@own_sampler
@torch.compiler.disable
@names_wrong_types
def gibbs(
    energy: Energy,
    x: Tensor,
    *,
    clamp: Optional[Tensor] = None,
    scan: Literal["systematic", "random"] = "systematic",
    categorical: Optional[bool] = None,
    blocks: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Gibbs sampling of N chains of a discrete energy (Geman & Geman 1984).

    Leaves exp(-beta E(x)) exactly invariant. A step is a sweep: every site in order, or every block
    of sites, is drawn from its exact conditional distribution, with one call of the energy for a
    binary site, and K^k - 1 calls for k sites of K states. With a random scan, a step is one such
    update, and the chains are also reversible.

    An energy with a ``gibbs`` method of its own, such as an RBM, makes ``n_steps`` of its own steps
    instead; so does one with a ``random_scan_gibbs`` method with a random scan, and one with a
    ``categorical_gibbs`` method with categorical states in order. Not so with ``blocks``. An energy
    with a ``flip_differences`` method and without a path of its own over temperatures is asked for
    the difference of each flip instead of the energy.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the states to start from, floating: zeros and ones, (N, ...), or, if ``categorical``,
            one-hot, (N, ..., K).
        clamp: boolean, over the sites, (...) or (N, ...); true where a site keeps its value.
        scan: "systematic" updates every block in a step, in order; "random" updates one block
            of every chain, drawn uniformly for each chain. If the drawn sites are clamped, the
            chain stays where it is.
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        blocks: integers, (B, k): rows of sites, numbered in the order of memory, that are updated
            jointly. Every site must be in some row, at most once per row, and K^k (2^k) must be
            at most 4096. Default: every site alone.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`. With
            ``thin``, an energy's own sampler is called once per step, and draws other numbers than
            in one call.

    Raises:
        TypeError: ``blocks`` that are not integers, a ``clamp`` that is not boolean.
        ValueError: states other than those described above, invalid blocks, or an energy that is
            NaN or -inf (the message names the chain, step and first site of the block); +inf
            forbids a state.
    """
    return run_sampler(
        "gibbs",
        energy,
        x,
        clamp=clamp,
        scan=scan,
        categorical=categorical,
        blocks=blocks,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
