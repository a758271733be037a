"""Finding the step size and the inverse mass of a sampler."""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._arguments import as_beta
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument


class WarmUp(NamedTuple):
    """The states of the chains after a warm-up, and the parameters for their sampler.

    Attributes:
        x: the last states, (N, ...).
        step_size: a number.
        inverse_mass: the diagonal of M^-1, the shape and dtype of one state.
    """

    x: Tensor
    step_size: float
    inverse_mass: Tensor


@torch.compiler.disable
@names_wrong_types
def warm_up(
    energy: Energy,
    x: Tensor,
    *,
    sampler: str = "nuts",
    n_steps: int = 1000,
    target_acceptance: Optional[float] = None,
    n_leapfrog: int = 10,
    max_depth: int = 10,
    beta: Union[float, Tensor, None] = None,
    generator: Optional[torch.Generator] = None,
) -> WarmUp:
    """Runs a sampler and adapts its step size and inverse mass.

    The step size comes from dual averaging (Hoffman & Gelman 2014, algorithm 5), the diagonal
    inverse mass from the variances of the states. The first 15 in 100 steps (75 at most) and the
    last 20 adapt the step size alone. The steps between adapt both, in windows that double in
    length (Stan reference manual, "HMC algorithm parameters"; the last part is longer here). All
    chains share one step size and one mass, and pool their acceptance rates and states. The sampler
    is not exact during adaptation. The returned values are fixed, so sampling from there is exact::

        start = warm_up(energy, x)
        nuts(energy, start.x, step_size=start.step_size, inverse_mass=start.inverse_mass)

    Args:
        energy: any callable or module that maps a batch (N, ...) to energies (N,).
        x: the states that N chains start from, (N, ...), floating; not changed.
        sampler: "nuts", "hmc" or "mala".
        n_steps: transitions of every chain, at least 20.
        target_acceptance: the mean acceptance rate to aim for, in (0, 1); default 0.8, and 0.574
            for MALA (Roberts & Rosenthal 1998).
        n_leapfrog: leapfrog steps per transition, for "hmc".
        max_depth: see :func:`nuts`.
        beta: inverse temperature, one number or one for every chain, (N,); default 1.
        generator: source of the one key per call; default: torch's default generator.

    Raises:
        ValueError: an unknown sampler, ``n_steps`` < 20, ``target_acceptance`` outside (0, 1), and
            as the sampler does.
    """
    with as_argument(energy) as argument:
        states, step_size, inverse_mass = torch.ops.torch_ebm.warm_up(
            argument,
            x,
            sampler=sampler,
            n_steps=n_steps,
            target_acceptance=target_acceptance,
            n_leapfrog=n_leapfrog,
            max_depth=max_depth,
            beta=as_beta(beta),
            generator=generator,
        )
    return WarmUp(states, step_size.item(), inverse_mass)
