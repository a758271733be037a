"""Annealed importance sampling."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from .ais_run import AISRun
from .energy import Energy
from .log_z_estimate import LogZEstimate
from .noise import NoiseDistribution
from .sampler import Sampler


@torch.compiler.disable
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
    :func:`torch_ebm.annealed_energy` and :func:`torch_ebm.anneal`. Unbiased for Z, not for log Z:
    a stochastic lower bound. An energy that defines its own path, by ``tempered`` or
    ``base_energy``, keeps it; then ``base`` must be its law at beta = 0.

    An RBM needs neither base nor sampler: its path begins at independent visible units with biases
    ``base_visible_bias`` and takes one block Gibbs step at every temperature, all in one operator
    (Salakhutdinov & Murray 2008, eqs. 16-18)::

        log f_t(v) = (1 - t) bA.v + t b.v + sum_j softplus(t (c_j + (v W)_j))

    Args:
        base: a distribution that is sampled exactly, with its normalised log density, on the
            space of the energy: one of :mod:`torch.distributions`, or your own. Where the energy
            is finite it must be positive.
        sampler: see :func:`torch_ebm.anneal`. Default: :func:`torch_ebm.gibbs` of binary states,
            and for others HMC with step sizes that a pilot run finds, :func:`torch_ebm.tune_path`.
        betas: inverse temperatures that rise from 0 to 1, (K + 1,), or K for evenly spaced ones;
            see also :func:`torch_ebm.sigmoid_schedule` and :func:`torch_ebm.adaptive_schedule`.
        base_visible_bias: bA, (V,); ``base_rate_bias(data)`` serves well. Default: the model's own.
        batch_size: chains that are annealed together, all by default: bounds the memory.
        n_groups, resample_below: see :func:`torch_ebm.anneal`. Where groups resample, the weights
            of the estimate are theirs.
        progress: show a progress bar.

    Raises:
        ValueError: parameters that are not finite, bad ``betas``, ``n_chains`` < 2, fewer than 2
            groups where they resample, no ``base``, or one that is not the law at beta = 0.
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
    """log Z from the way down: from samples x of the model, (N, ...), to the base.

    Grosse, Ghahramani & Adams (2015). Unbiased for 1 / Z: with exact samples a stochastic upper
    bound on log Z, as :func:`ais` is a lower one. With samples that are not exact it bounds
    nothing. Its interval is weaker than that of the way up: see docs/partition.md. Where an energy
    is +inf the base counts without these states. Arguments as for :func:`ais`.

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
