"""Schedules of inverse temperatures for annealing."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...samplers.sampler import Sampler, sampler_argument


@names_wrong_types
def linear_schedule(n_steps: int) -> Tensor:
    """``n_steps`` + 1 inverse temperatures from 0 to 1, evenly spaced, float64.

    Raises:
        ValueError: ``n_steps`` < 1.
    """
    return torch.ops.torch_ebm.linear_schedule(n_steps)


@names_wrong_types
def sigmoid_schedule(n_steps: int, *, steepness: float = 4.0) -> Tensor:
    """``n_steps`` + 1 inverse temperatures from 0 to 1, denser near both ends, float64.

    They are sigmoid(``steepness`` (2 k / n_steps - 1)), shifted and scaled to begin at 0 and end at
    1 (Grosse, Ghahramani & Adams 2015, section 4.1, with steepness 4).

    Raises:
        ValueError: ``n_steps`` < 1, or ``steepness`` that is not positive and finite.
    """
    return torch.ops.torch_ebm.sigmoid_schedule(n_steps, steepness)


@names_wrong_types
def salakhutdinov_murray_schedule(n_steps: int) -> Tensor:
    """``n_steps`` + 1 inverse temperatures from 0 to 1, ever denser towards 1, float64.

    1/29 of the steps lead from 0 to 0.5, 8/29 on to 0.9 and 20/29 on to 1, evenly spaced in each
    part, at least one each (Salakhutdinov & Murray 2008, who took 500, 4000 and 10000). For large
    RBMs, whose weights change most near 1, annealed from base rates: from the uniform base, the default
    of :func:`torch_ebm.ais`, it is far worse than even spacing.

    Raises:
        ValueError: ``n_steps`` < 3.
    """
    return torch.ops.torch_ebm.salakhutdinov_murray_schedule(n_steps)


@torch.compiler.disable
@names_wrong_types
def adaptive_schedule(
    energy: Energy,
    x: Tensor,
    sampler: Sampler,
    *,
    conditional_ess: float = 0.999,
    max_temperatures: int = 100_000,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Inverse temperatures from 0 to 1 with equal loss of weight of N chains between neighbours.

    Each is the largest at which the conditional ESS, (sum_i W_i w_i)^2 / sum_i W_i w_i^2 for
    normalised weights W and their growth w, does not fall below ``conditional_ess`` (Zhou, Johansen
    & Aston 2016, section 3.3.2). The chains are a pilot run, with resampling, and are discarded: an
    estimate of log Z along a path chosen by its own chains would be biased.

    Args:
        energy: with the path to follow, see :func:`annealed_energy`.
        x: (N, ...), drawn from the distribution at beta = 0.
        sampler: see :func:`torch_ebm.anneal`.
        conditional_ess: as a share of the chains, in (0, 1). For four times as many temperatures,
            replace c by 1 - (1 - c) / 16.

    Returns:
        (K + 1,), float64.

    Raises:
        ValueError: more than ``max_temperatures`` are needed; and as :func:`torch_ebm.anneal`.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return torch.ops.torch_ebm.adaptive_schedule(
            energy_argument,
            x,
            move,
            conditional_ess=conditional_ess,
            max_temperatures=max_temperatures,
            generator=generator,
        )
