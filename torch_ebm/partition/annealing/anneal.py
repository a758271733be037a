"""Chains taken along a path of temperatures, with their importance weights."""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...samplers.sampler import Sampler, sampler_argument


class AnnealedChains(NamedTuple):
    """N chains on their way along a path of temperatures."""

    x: Tensor
    """The states, (N, ...)."""
    log_weights: Tensor
    """Shape (N,), float64."""
    stage_ess: Tensor
    """ESS of the weights after each of the K changes of temperature, (K,), float64."""


@torch.compiler.disable
@names_wrong_types
def anneal(
    energy: Energy,
    x: Tensor,
    betas: Tensor,
    sampler: Sampler,
    *,
    log_weights: Optional[Tensor] = None,
    n_groups: int = 1,
    resample_below: float = 0.0,
    generator: Optional[torch.Generator] = None,
) -> AnnealedChains:
    """Takes chains from inverse temperature ``betas[0]`` to ``betas[K]``, up or down.

    At each change the log weights grow by E_b(x) - E_b'(x), with b = ``betas[k]``, b' =
    ``betas[k + 1]`` and E_b the energy at b (``tempered``, or b E + (1 - b) ``base_energy``); then
    ``sampler`` moves the states and must leave the distribution at b' invariant. If x was drawn
    from the distribution at ``betas[0]``, the mean weight is unbiased for Z(betas[K]) /
    Z(betas[0]), with and without resampling (Neal 2001; Del Moral, Doucet & Jasra 2006). Two short
    runs equal one long run if the second starts from the states and weights of the first.

    Args:
        x: (N, ...), floating; not changed.
        betas: (K + 1,), K >= 1, finite, not negative, strictly rising or falling.
        sampler: any sampler, for example ``functools.partial(torch_ebm.mala, step_size=0.1)``; it
            gets the energy, x and ``beta``. Or a scripted module, whose
            ``forward(x, beta, generator)`` returns the new states.
        log_weights: the weights that the chains start with, (N,); default 0.
        n_groups: number of groups of consecutive chains. Chains resample within their group only;
            groups stay independent.
        resample_below: a group is resampled (systematically) once its ESS falls below this share of
            its chains: sequential Monte Carlo. With 0 there is no resampling: annealed importance
            sampling.

    Once the energy of a chain is +inf, its weight stays 0.

    Raises:
        ValueError: invalid betas, ``n_groups`` that does not divide N, ``resample_below`` outside
            [0, 1], energies that are NaN or -inf, a sampler that returns states of another shape.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return AnnealedChains(
            *torch.ops.torch_ebm.anneal(
                energy_argument,
                x,
                betas,
                move,
                log_weights=log_weights,
                n_groups=n_groups,
                resample_below=resample_below,
                generator=generator,
            )
        )
