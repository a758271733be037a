"""The unadjusted Langevin algorithm."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_bounds
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .sampler import Samples, StepSize, own_sampler, run_sampler


@names_wrong_types
def langevin_update(
    x: Tensor,
    score: Tensor,
    step_size: float,
    *,
    noise_scale: float = 1.0,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """One Langevin step, in one pass over memory, for your own loops.

    ``x + step_size score + noise_scale sqrt(2 step_size) xi``, with the noise that :func:`langevin`
    draws for its first step.

    Args:
        x: states, (N, ...).
        score: -dE/dx there, of the same shape and dtype.
        noise_scale, generator: as in :func:`langevin`.

    Returns:
        The new states, detached, like ``x``.

    Raises:
        ValueError: no chains, another shape of ``score``, ``step_size`` <= 0, ``noise_scale`` < 0,
            a result that is not finite (the message names the chain).
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.langevin_update(
        x, score, step_size, noise_scale=noise_scale, generator=generator
    )


@own_sampler
@torch.compiler.disable
@names_wrong_types
def langevin(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.01,
    noise_scale: float = 1.0,
    max_score: Optional[float] = None,
    bounds: Optional[tuple[float, float]] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Unadjusted Langevin sampling of N chains (Parisi 1981).

    ``x <- x - step_size dE/dx + noise_scale sqrt(2 step_size) xi``, xi ~ N(0, 1). The target is
    left invariant only as ``step_size`` -> 0: on N(0, 1) the variance is 1 / (1 - step_size / 2).
    Clamps and another noise scale change the distribution further.

    Args:
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        noise_scale: multiplies the noise; short-run training of image models uses far less than 1,
            which samples exp(-E / noise_scale^2) (Nijkamp et al. 2019).
        max_score: every element of the score is clamped to +-max_score (Du & Mordatch 2019).
        bounds: states are clamped to (low, high).
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: a step size or ``max_score`` <= 0, ``noise_scale`` < 0, empty ``bounds``, a
            score or a state that is not finite (the message names the chain and step).
    """
    low, high = as_bounds(bounds)
    return run_sampler(
        "langevin",
        energy,
        x,
        step_size=step_size,
        noise_scale=noise_scale,
        max_score=max_score,
        low=low,
        high=high,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
