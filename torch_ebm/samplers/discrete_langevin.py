"""The discrete Langevin proposal."""

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
def discrete_langevin(
    energy: Energy,
    x: Tensor,
    *,
    step_size: StepSize = 0.2,
    metropolis: bool = True,
    categorical: Optional[bool] = None,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Discrete Langevin sampling of N chains (Zhang, Liu & Liu 2022): all sites at once, one
    gradient per step.

    Every site draws its new state independently, with probability proportional to
    ``exp(score_i (x'_i - x_i) / 2 - |x'_i - x_i|^2 / (2 step_size))``. A binary site flips with
    probability ``sigmoid(d_i / 2 - 1 / (2 step_size))``, where d_i is the first-order estimate of
    the change of -beta E. For one-hot sites ``|x'_i - x_i|^2`` is 2.

    With ``metropolis`` (DMALA) it leaves exp(-beta E(x)) exactly invariant and is reversible, at
    any step size. Without (DULA) it is biased: where E is quadratic, it is reversible with respect
    to exp(-beta E(x)) times the product of the sites' normalisers, which tends to the target as
    ``step_size`` -> 0; otherwise the target is left invariant only in that limit.

    Args:
        energy: maps (N, ...) to energies (N,), differentiable on the reals around the states.
        x: the states to start from, floating: zeros and ones, (N, ...), or, if ``categorical``,
            one-hot, (N, ..., K).
        step_size: one number, a list with one for every step, or a tensor with one for every chain,
            (N,).
        metropolis: accept or reject every proposal; otherwise accept all.
        categorical: whether the last dimension of ``x`` holds the K >= 2 states of a site, one-hot.
            It must be given for x with three or more dimensions that is one-hot in the last one;
            otherwise it is False.
        n_steps, beta, thin, inplace, generator: see :mod:`torch_ebm.samplers.sampler`.

    Raises:
        ValueError: states other than those described above, a step size <= 0, chains that start
            where the energy or its score is not finite. A proposal where one is not finite is
            rejected; without ``metropolis`` it raises too.
    """
    return run_sampler(
        "discrete_langevin",
        energy,
        x,
        step_size=step_size,
        metropolis=metropolis,
        categorical=categorical,
        n_steps=n_steps,
        beta=beta,
        thin=thin,
        inplace=inplace,
        generator=generator,
    )
