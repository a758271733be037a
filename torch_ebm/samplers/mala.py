"""The Metropolis-adjusted Langevin algorithm."""

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
def mala(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.01,
    inverse_mass: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Metropolis-adjusted Langevin sampling of N chains (Roberts & Tweedie 1996).

    Proposes ``N(x - step_size M^-1 dE/dx, 2 step_size M^-1)`` and accepts with the
    Metropolis-Hastings ratio: leaves exp(-beta E(x)) exactly invariant, and is reversible. A
    proposal whose energy is not finite is rejected.

    Args:
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        inverse_mass: the diagonal of M^-1, ideally the variance of every unit: of the shape of one
            state, of all, or (); default 1.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: a step size or ``inverse_mass`` <= 0, chains that start where the energy or the
            score is not finite.
    """
    return run_sampler(
        "mala",
        energy,
        x,
        step_size=step_size,
        inverse_mass=inverse_mass,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
