"""Hamiltonian Monte Carlo."""

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
def hmc(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.1,
    n_leapfrog: int = 10,
    jitter: float = 0.0,
    inverse_mass: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Hamiltonian Monte Carlo with N chains (Duane et al. 1987; Neal 2011).

    Momenta are drawn from N(0, M), followed by leapfrog steps and acceptance with probability
    min(1, exp(H - H')). Leaves exp(-beta E(x)) exactly invariant, and is reversible. A proposal
    whose energy is not finite is rejected.

    Args:
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        n_leapfrog: leapfrog steps per transition.
        jitter: every transition draws its number of leapfrog steps from the integers within
            ``n_leapfrog (1 +- jitter)``, the same for all chains, because a fixed path length can
            coincide with the period of the motion (Neal 2011, section 3.2). In [0, 1).
        inverse_mass: the diagonal of M^-1, ideally the variance of every unit: of the shape of one
            state, of all, or (); default 1.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: a step size or ``inverse_mass`` <= 0, ``n_leapfrog`` < 1, ``jitter`` outside [0,
            1), chains that start where the energy or the score is not finite.
    """
    return run_sampler(
        "hmc",
        energy,
        x,
        step_size=step_size,
        n_leapfrog=n_leapfrog,
        jitter=jitter,
        inverse_mass=inverse_mass,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
