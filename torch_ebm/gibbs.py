"""Gibbs sampling of any binary energy."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ._arguments import as_beta
from .energy import Energy, as_argument


@torch.compiler.disable
def gibbs(
    energy: Energy,
    x: Tensor,
    *,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    clamp: Optional[Tensor] = None,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Gibbs sampling of N chains of a binary energy.

    Leaves exp(-beta E(x)) exactly invariant. An energy with a ``gibbs`` method of its own, such as an
    RBM, makes ``n_steps`` block steps; any other makes as many sweeps of single-site updates in the
    order of the sites (Geman & Geman 1984), with one call of the energy a site.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the states to start from, zeros and ones, (N, ...), floating.
        beta: inverse temperature, one number or one for every chain, (N,). Default 1.
        clamp: boolean, (...) or (N, ...); true where a unit keeps its value.
        generator: draws one key from it; default: torch's default generator.

    Returns:
        The new states, detached, in the shape of ``x``.

    Raises:
        ValueError: states other than 0 and 1, no chains, ``n_steps`` < 1, negative ``beta``, an energy
            that is NaN or -inf (the chain, step and site are named) or has the wrong shape.
        Whatever ``energy`` raises comes through with its own type.
    """
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm.gibbs(
            argument, x, n_steps=n_steps, beta=as_beta(beta), clamp=clamp, generator=generator
        )
