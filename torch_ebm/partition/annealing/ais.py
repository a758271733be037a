"""Annealed importance sampling."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy
from ...energy.noise import NoiseDistribution
from ...samplers.sampler import Sampler
from ..log_z_estimate import LogZEstimate
from .ais_run import AISRun


@torch.compiler.disable
@names_wrong_types
def ais(
    energy: Energy,
    base: Optional[NoiseDistribution] = None,
    sampler: Optional[Sampler] = None,
    *,
    n_chains: int = 100,
    betas: Union[int, Tensor] = 1000,
    base_visible_bias: Optional[Tensor] = None,
    batch_size: Optional[int] = None,
    n_groups: int = 1,
    resample_below: float = 0.0,
    generator: Optional[torch.Generator] = None,
    progress: bool = False,
) -> LogZEstimate:
    """log Z by annealed importance sampling, with its error (Neal 2001).

    Samples of ``base`` are moved by ``sampler`` along the geometric path to ``energy``, see
    :func:`torch_ebm.annealed_energy` and :func:`torch_ebm.anneal`. The estimate is unbiased for Z,
    not for log Z, of which it is a stochastic lower bound. An energy that defines its own path, by
    ``tempered`` or ``base_energy``, keeps it; then ``base`` must be its distribution at beta = 0.

    An RBM needs neither base nor sampler: its path begins at independent visible units with biases
    ``base_visible_bias`` and takes one block Gibbs step at every temperature, all in one operator
    (Salakhutdinov & Murray 2008, eqs. 16-18)::

        log f_t(v) = (1 - t) bA.v + t b.v + sum_j softplus(t (c_j + (v W)_j))

    Args:
        base: a distribution with exact samples and a normalised log density, on the space of the
            energy: one of :mod:`torch.distributions`, or your own. Its density must be positive
            wherever the energy is finite.
        sampler: see :func:`torch_ebm.anneal`. Default: :func:`torch_ebm.gibbs` for binary states;
            for others HMC, with step sizes from a pilot run, :func:`torch_ebm.tune_path`. That
            takes about as many gradients as a run of 50 chains along ``betas`` (10 a temperature),
            but at least 600 and at most 11,000; one tuning serves any number of runs.
        betas: inverse temperatures that rise from 0 to 1, (K + 1,), or K for evenly spaced ones;
            see also :func:`torch_ebm.sigmoid_schedule` and :func:`torch_ebm.adaptive_schedule`.
        base_visible_bias: bA, (V,). Default: zeros, the uniform base, which misses modes least.
            ``base_rate_bias(data)`` is more efficient where the data show all modes of the model,
            and misses those that they lack. From any base but zeros, a tenth as many chains, 5 to
            100, are annealed from zeros too; the estimate warns if they contradict it, which they
            do for most misses of a nat or more: see docs/partition.md.
        batch_size: number of chains annealed together, which bounds the memory. Default: all.
        n_groups, resample_below: see :func:`torch_ebm.anneal`. Where groups resample, the estimate
            has one weight per group.
        progress: show a progress bar.

    Raises:
        ValueError: parameters that are not finite, bad ``betas``, ``n_chains`` < 2, fewer than 2
            groups where they resample, no ``base``, or one that is not the distribution at
            beta = 0.
    """
    run = AISRun(
        energy,
        base,
        sampler,
        n_chains=n_chains,
        betas=betas,
        base_visible_bias=base_visible_bias,
        batch_size=batch_size,
        n_groups=n_groups,
        resample_below=resample_below,
        generator=generator,
    )
    return run.run(progress=progress)


@torch.compiler.disable
@names_wrong_types
def reverse_ais(
    energy: Energy,
    x: Tensor,
    base: Optional[NoiseDistribution] = None,
    sampler: Optional[Sampler] = None,
    *,
    betas: Union[int, Tensor] = 1000,
    base_visible_bias: Optional[Tensor] = None,
    batch_size: Optional[int] = None,
    n_groups: int = 1,
    resample_below: float = 0.0,
    generator: Optional[torch.Generator] = None,
    progress: bool = False,
) -> LogZEstimate:
    """log Z by annealing down, from samples x of the model, (N, ...), to the base.

    Grosse, Ghahramani & Adams (2015). With exact samples the estimate is unbiased for 1 / Z, and so
    a stochastic upper bound on log Z, where :func:`ais` gives a lower bound. With samples that are
    not exact it is not a bound. Its interval is less reliable than that of :func:`ais`: see
    docs/partition.md. States of energy +inf are left out of the base. Arguments as for :func:`ais`.

    Raises:
        ValueError: as :func:`ais`.
    """
    run = AISRun(
        energy,
        base,
        sampler,
        x=x,
        betas=betas,
        base_visible_bias=base_visible_bias,
        batch_size=batch_size,
        n_groups=n_groups,
        resample_below=resample_below,
        generator=generator,
    )
    return run.run(progress=progress)
