"""The unadjusted Langevin algorithm."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from .energy import Energy, as_argument


@torch.compiler.disable
def langevin(
    energy: Energy,
    x: Tensor,
    *,
    n_steps: int = 1,
    step_size: float = 0.01,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Unadjusted Langevin sampling of N chains (Parisi 1981).

    ``x <- x - step_size dE/dx + sqrt(2 step_size) xi``, xi ~ N(0, 1). The target is left invariant
    only as ``step_size`` -> 0: on N(0, 1) the variance is 1 / (1 - step_size / 2).

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,), differentiable in x.
        x: the states to start from, (N, ...), floating.
        generator: draws one key from it; default: torch's default generator.

    Returns:
        The new states, detached, in the shape of ``x``.

    Raises:
        ValueError: no chains, ``n_steps`` < 1, ``step_size`` <= 0, a score that is not finite (the
            chain and step are named).
        Whatever ``energy`` raises comes through with its own type.
    """
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm.langevin(
            argument, x, n_steps=n_steps, step_size=step_size, generator=generator
        )
