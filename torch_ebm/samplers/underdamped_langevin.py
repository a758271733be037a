"""Underdamped Langevin dynamics."""

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
def underdamped_langevin(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.1,
    friction: float = 1.0,
    inverse_mass: Optional[Tensor] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Underdamped Langevin dynamics of N chains by the BAOAB splitting (Leimkuhler & Matthews
    2013).

    Not exact, but the bias of the states is only of order ``step_size``^2, and for a Gaussian a
    long call has none. Each step takes one score. Momenta are drawn anew in every call: they are
    never shared or carried over.

    Args:
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        friction: the rate at which momenta are forgotten, per unit of time.
        inverse_mass: the diagonal of M^-1, ideally the variance of every unit: of the shape of one
            state, of all, or (); default 1.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: a step size, ``friction`` or ``inverse_mass`` <= 0, a score or a state that is
            not finite (the message names the chain and step).
    """
    return run_sampler(
        "underdamped_langevin",
        energy,
        x,
        step_size=step_size,
        friction=friction,
        inverse_mass=inverse_mass,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
