"""Gibbs sampling of any binary energy."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from .energy import Energy
from .sampler import Samples, run_sampler


@torch.compiler.disable
def gibbs(
    energy: Energy,
    x: Tensor,
    *,
    clamp: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Gibbs sampling of N chains of a binary energy.

    Leaves exp(-beta E(x)) exactly invariant. An energy with a ``gibbs`` method of its own, such as an
    RBM, makes ``n_steps`` block steps; any other makes as many sweeps of single-site updates in the
    order of the sites (Geman & Geman 1984), with one call of the energy a site.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the states to start from, zeros and ones, (N, ...), floating.
        clamp: boolean, (...) or (N, ...); true where a unit keeps its value.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.sampler`.

    Raises:
        ValueError: states other than 0 and 1, or an energy that is NaN or -inf (the chain, step and site
            are named); +inf forbids a state.
    """
    return run_sampler(
        "gibbs",
        energy,
        x,
        clamp=clamp,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
