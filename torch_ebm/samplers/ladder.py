"""Ladders of inverse temperatures for replica exchange."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_ladder
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from .sampler import Sampler, sampler_argument


class Ladder(NamedTuple):
    """A ladder of R inverse temperatures, with the last states and swap rates of its tuning.

    Attributes:
        betas: (R,), float64.
        x: the last states, (R, N, ...).
        swap_rate: the acceptance rate of swaps in the last round, before its adaptation,
            (R - 1,), float64.
    """

    betas: Tensor
    x: Tensor
    swap_rate: Tensor

    @property
    def barrier(self) -> float:
        """The communication barrier, sum of (1 - swap_rate): the same for every fine enough
        ladder.
        """
        return float((1 - self.swap_rate).sum())

    @property
    def suggested_rungs(self) -> int:
        """The number of rungs that carries states along the ladder most cheaply: 2 barrier + 1."""
        return max(2, math.ceil(2 * self.barrier) + 1)


@names_wrong_types
def adapt_ladder(betas: Union[Tensor, Sequence[float]], swap_rate: Tensor) -> Tensor:
    """A ladder with the same ends and number of rungs, and equal rejection rates of neighbours.

    (Syed et al. 2022, section 5.1.) The cumulative rejection rate along the ladder, interpolated
    linearly, is cut into equal parts.

    Args:
        betas: (R,), strictly decreasing, finite and >= 0.
        swap_rate: (R - 1,), as :func:`torch_ebm.replica_exchange` returns it.

    Returns:
        (R,), float64.

    Raises:
        ValueError: a ladder that does not decrease, a rate outside [0, 1] or NaN.
    """
    return torch.ops.torch_ebm.adapt_ladder(as_ladder(betas), swap_rate)


@torch.compiler.disable
@names_wrong_types
def tune_ladder(
    energy: Energy,
    x: Tensor,
    betas: Union[Tensor, Sequence[float]],
    sampler: Sampler,
    *,
    n_rounds: int = 6,
    n_steps: int = 16,
    generator: Optional[torch.Generator] = None,
) -> Ladder:
    """Rounds of :func:`replica_exchange`, each followed by :func:`adapt_ladder`.

    Args:
        energy, x, betas, sampler, generator: as for :func:`torch_ebm.replica_exchange`.
        n_rounds: from 1 to 30.
        n_steps: of the first round, at least 2; each later round is twice as long.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return Ladder(
            *torch.ops.torch_ebm.tune_ladder(
                energy_argument,
                x,
                as_ladder(betas),
                move,
                n_rounds=n_rounds,
                n_steps=n_steps,
                generator=generator,
            )
        )
