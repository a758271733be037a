"""The No-U-Turn sampler."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .sampler import Samples, StepSize, own_sampler, run_sampler


@own_sampler
@torch.compiler.disable
@names_wrong_types
def nuts(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.1,
    max_depth: int = 10,
    inverse_mass: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """The No-U-Turn sampler with N chains (Hoffman & Gelman 2014; Betancourt 2017, appendix A).

    Hamiltonian Monte Carlo that finds its own path length: a trajectory is doubled forwards or
    backwards in time until it, or a balanced part of it, turns back. The next state is drawn from
    its points with weights exp(-H), with preference for the newer half. Leaves exp(-beta E(x))
    exactly invariant, and is reversible.

    A trajectory ends where H exceeds its first value by more than 1000 or is not finite.
    ``acceptance_rate`` is the mean of min(1, exp(H_0 - H)) over all points computed; it is near 0
    where trajectories end in this way.

    The chains of a batch take their leapfrog steps together, until the last one has turned. Chains
    that have turned rest, but the energy is still evaluated for all N rows, because it may depend
    on the row. :func:`warm_up` finds a step size and an inverse mass.

    Args:
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        max_depth: the most often a trajectory is doubled, for at most ``2 ** max_depth - 1``
            leapfrog steps. In [1, 20].
        inverse_mass: the diagonal of M^-1, ideally the variance of every unit: of the shape of one
            state, of all, or (); default 1.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: a step size or ``inverse_mass`` <= 0, ``max_depth`` outside [1, 20], chains that
            start where the energy or the score is not finite.
    """
    return run_sampler(
        "nuts",
        energy,
        x,
        step_size=step_size,
        max_depth=max_depth,
        inverse_mass=inverse_mass,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
