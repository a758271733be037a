"""Gibbs with gradients."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from .energy import Energy
from .sampler import Samples, own_sampler, run_sampler


@own_sampler
@torch.compiler.disable
def gibbs_with_gradients(
    energy: Energy,
    x: Tensor,
    *,
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
    states and acceptance rates (N,), makes the steps of binary chains itself.

    Args:
        energy: maps (N, ...) to energies (N,), differentiable on the reals around the states.
        x: the states to start from, floating: zeros and ones, (N, ...), or, if ``categorical``,
            one-hot, (N, ..., K).
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.sampler`.

    Raises:
        ValueError: states other than those described above, chains that start where the energy or
            its score is not finite. A proposal where one is not finite is rejected.
    """
    return run_sampler(
        "gibbs_with_gradients",
        energy,
        x,
        categorical=categorical,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
