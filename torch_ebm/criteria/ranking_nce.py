"""The ranking form of noise-contrastive estimation."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from ..energy.noise import NoiseDistribution, NoiseSamples, noise_arguments
from .criterion import Reduction, run_criterion


@names_wrong_types
def ranking_nce(
    energy: Energy,
    x: Tensor,
    noise: Union[NoiseDistribution, NoiseSamples],
    *,
    n_noise: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Ranking noise-contrastive estimation (Ma & Collins 2018; InfoNCE, van den Oord et al. 2018).

    The model must pick the example x among its nu noise samples y_k::

        l(x) = -log( exp s(x) / (exp s(x) + sum_k exp s(y_k)) )
        s(u) = -E(u) - log p_noise(u)

    Z cancels, and so does a constant in the log density of the noise.

    Consistent if the noise has positive density wherever the data have. As nu grows, it becomes as
    efficient as maximum likelihood. Like :func:`torch_ebm.nce`, it fails where noise is easily told
    from data.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the data, (N, ...), floating.
        noise, n_noise: see :func:`torch_ebm.nce`.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`. The generator goes
            to the ``sample`` of the noise.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: as :func:`torch_ebm.nce`.
    """
    return run_criterion(
        "ranking_nce",
        energy,
        x,
        **noise_arguments("ranking_nce", noise, x, n_noise, generator),
        weights=weights,
        reduction=reduction,
    )
