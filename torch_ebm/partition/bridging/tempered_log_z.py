"""log Z from a ladder of temperatures that exchange their states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from ...common._arguments import as_ladder
from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...samplers.sampler import Sampler, sampler_argument
from ..log_z_estimate import LogZEstimate, overlap_estimate


class LadderEnergies(NamedTuple):
    """The result of :func:`ladder_energies` for R rungs of N chains.

    Attributes:
        energies: tempered energies: those at rung i of the states of rung j, (R, R, n_steps, N)
            for i, j, step and chain, float64. :func:`mbar` takes ``energies.flatten(1)``, with
            counts of n_steps N.
        x: the last states, (R, N, ...), detached.
        swap_rate: see :class:`ReplicaSamples`; of the whole run, including burn-in.
    """

    energies: Tensor
    x: Tensor
    swap_rate: Tensor


@torch.compiler.disable
@names_wrong_types
def ladder_energies(
    energy: Energy,
    x: Tensor,
    betas: Union[Tensor, Sequence[float]],
    sampler: Sampler,
    *,
    n_steps: int = 1000,
    n_burn_in: int = 0,
    generator: Optional[torch.Generator] = None,
) -> LadderEnergies:
    """Runs :func:`replica_exchange`, and keeps the energies that estimators of log Z need.

    Args:
        energy, x, betas, sampler, generator: see :func:`replica_exchange`.
        n_steps: steps whose states count.
        n_burn_in: steps before them.

    Raises:
        ValueError: as :func:`replica_exchange`; ``n_burn_in`` < 0.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return LadderEnergies(
            *torch.ops.torch_ebm.ladder_energies(
                energy_argument,
                x,
                as_ladder(betas),
                move,
                n_steps=n_steps,
                n_burn_in=n_burn_in,
                generator=generator,
            )
        )


@torch.compiler.disable
@names_wrong_types
def tempered_log_z(
    energy: Energy,
    x: Tensor,
    betas: Union[Tensor, Sequence[float]],
    sampler: Sampler,
    *,
    n_steps: int = 1000,
    n_burn_in: int = 0,
    log_z_base: float = 0.0,
    method: str = "mbar",
    generator: Optional[torch.Generator] = None,
) -> LogZEstimate:
    """log Z at ``betas[0]`` from N independent ladders that exchange replicas.

    The standard error is that of a jackknife over the ladders, in at most 20 groups. It accounts
    for the dependence of the samples, within a chain and between rungs. Energies of all rungs at
    all rungs are kept, R^2 N n_steps numbers.

    Args:
        energy, x, betas, sampler, generator: see :func:`replica_exchange`; N >= 2.
        n_steps: steps whose states count.
        n_burn_in: steps before them.
        log_z_base: log Z at ``betas[-1]``, for example that of beta = 0.
        method: ``"mbar"``; ``"bridge"``, the sum over neighbouring rungs of Bennett's ratios; or
            ``"thermodynamic_integration"``, along straight lines between the energies of
            neighbouring rungs, with an interval that is widened on both sides by an estimate of the
            quadrature error.

    Returns:
        ``ess`` is the smallest effective number of samples in the overlap of two neighbouring
        rungs, as in :func:`bridge_sampling`, as if they were independent. ``log_weights`` is empty,
        ``betas`` is the ladder. Warns if the ESS is below 10 or the interval longer than 2.

    Raises:
        ValueError: as :func:`replica_exchange`; fewer than two ladders; an unknown method; energies
            that are NaN; rungs that do not overlap.
    """
    ladder = as_ladder(betas)
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        numbers = torch.ops.torch_ebm.tempered_log_z(
            energy_argument,
            x,
            ladder,
            move,
            n_steps=n_steps,
            n_burn_in=n_burn_in,
            log_z_base=log_z_base,
            method=method,
            generator=generator,
        )
    return overlap_estimate(numbers, ladder.double())
