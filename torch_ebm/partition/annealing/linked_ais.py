"""Linked importance sampling."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ...common._arguments import as_generator
from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...energy.noise import NoiseDistribution
from ...samplers.sampler import Sampler, sampler_argument
from ..log_z_estimate import LogZEstimate, log_z_from_weights
from ._annealing_path import EnergyPath, checked_betas


@torch.compiler.disable
@names_wrong_types
def linked_ais(
    energy: Energy,
    base: NoiseDistribution,
    sampler: Sampler,
    *,
    n_chains: int = 100,
    n_states: int = 10,
    betas: Union[int, Tensor] = 100,
    n_pilot: int = 0,
    generator: Optional[torch.Generator] = None,
) -> LogZEstimate:
    """log Z by linked importance sampling, with its error (Neal 2005, section 4).

    Like :func:`ais`, but every run makes ``n_states`` states at each temperature, and a bridge
    between neighbouring temperatures uses the states of both. The weight is the product over k of
    the mean of b / f_k over the states at ``betas[k]``, divided by the mean of b / f_k+1 over those
    at ``betas[k + 1]``, where b is the bridge. The result is a stochastic lower bound on log Z. It
    is unbiased for Z if every state that is possible at one temperature is also possible at the one
    before. Otherwise the mean weight falls short by the probability that all states of a run are
    new, and that of :func:`ais` by the probability of all new states.

    It helps where many states of one distribution are impossible, or nearly so, under the next.
    Along a smooth path it does about as well as :func:`ais` at the same cost, that is, with
    ``n_states`` times as many temperatures for :func:`ais`.

    Args:
        energy, base: see :func:`ais`.
        sampler: see :func:`anneal`; it must be reversible. :func:`mala`, :func:`hmc`,
            :func:`gibbs_with_gradients`, the block Gibbs sampler of an RBM, and :func:`gibbs` with
            ``scan="random"`` are; :func:`gibbs` with the systematic scan is not.
        n_chains: independent runs, whose weights are averaged.
        n_states: states per temperature, from ``n_states`` - 1 calls of the sampler.
        betas: inverse temperatures that rise from 0 to 1, (K + 1,), or K for evenly spaced ones.
        n_pilot: number of pilot runs, whose ratios make the bridges optimal (Meng & Wong 1996) and
            whose weights do not count. With 0, bridges are geometric, sqrt(f_k f_k+1).

    Memory does not grow with K nor, apart from the samples of the base, with ``n_states``.

    Raises:
        ValueError: ``n_chains`` < 2, ``n_states`` < 1, ``n_pilot`` < 0, bad ``betas``, a base that
            is not the distribution at beta = 0, energies that are NaN or -inf, or pilot runs that
            all end with weight 0.
    """
    for name, value, least in (
        ("n_chains", n_chains, 2),
        ("n_states", n_states, 1),
        ("n_pilot", n_pilot, 0),
    ):
        if value < least:
            raise ValueError(f"linked_ais: {name} must be at least {least}, got {value}")
    way = EnergyPath("linked_ais", energy, base, sampler)
    path = checked_betas("linked_ais", betas)
    generator = as_generator(generator)

    log_z_base = way.log_z_base()

    def run(n_runs: int, log_ratios: Optional[Tensor]) -> tuple[Tensor, Tensor]:
        x = way.start(n_states * n_runs, generator)
        with as_argument(way.path) as argument, sampler_argument(sampler, way.path) as move:
            return torch.ops.torch_ebm.linked_ais(
                argument,
                x.view(n_states, n_runs, *x.shape[1:]),
                path,
                move,
                log_ratios=log_ratios,
                generator=generator,
            )

    guesses = run(n_pilot, None)[1] if n_pilot > 0 else None
    log_weights, _ = run(n_chains, guesses)
    return log_z_from_weights(log_weights, log_z_base, betas=path)
