"""Gibbs with gradients."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .sampler import Samples, own_sampler, run_sampler


@own_sampler
@torch.compiler.disable
@names_wrong_types
def gibbs_with_gradients(
    energy: Energy,
    x: Tensor,
    *,
    clamp: Optional[Tensor] = None,
    categorical: Optional[bool] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Gibbs with gradients of N chains of a discrete energy (Grathwohl et al. 2021, algorithm 1).

    A step changes at most one site: it proposes a site, and one of its other states, with
    probability softmax(d / 2), where d is the first-order estimate of the change of -beta E, and
    accepts with the Metropolis-Hastings ratio. Leaves exp(-beta E(x)) exactly invariant, and is
    reversible. Each step takes one gradient.

    An energy with a method ``gibbs_with_gradients(x, n_steps, beta, generator)``, which returns
    states and acceptance rates (N,), makes the steps of binary chains itself, unless some sites
    are clamped.

    Args:
        energy: maps (N, ...) to energies (N,), differentiable on the reals around the states.
        x: the states to start from, floating: zeros and ones, (N, ...), or, if ``categorical``,
            one-hot, (N, ..., K).
        clamp: boolean, over the sites, (...) or (N, ...); true where a site keeps its state. A
            chain whose sites are all clamped stays as it is, with acceptance rate 0.
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        TypeError: a ``clamp`` that is not boolean.
        ValueError: states other than those described above, chains that start where the energy or
            its score is not finite. A proposal where one is not finite is rejected.
    """
    return run_sampler(
        "gibbs_with_gradients",
        energy,
        x,
        clamp=clamp,
        categorical=categorical,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
