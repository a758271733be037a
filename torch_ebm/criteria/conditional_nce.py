"""Conditional noise-contrastive estimation."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def conditional_nce(
    energy: Energy,
    x: Tensor,
    *,
    sigma: Optional[float] = None,
    n_noise: Optional[int] = None,
    noise: Optional[Tensor] = None,
    log_ratio: Optional[Tensor] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Conditional noise-contrastive estimation (Ceylan & Gutmann 2018).

    The noise is a perturbation of the data. Given an example x and its kappa noise samples
    y_k ~ p_c(y | x), the model must tell which came first::

        l(x) = 2 / kappa sum_k log(1 + exp(-G(x, y_k)))
        G(x, y) = E(y) - E(x) + log p_c(y | x) - log p_c(x | y)

    Z cancels, and the noise need not resemble the data.

    Consistent if p_c leads from any state to any other. For small sigma it is 2 log 2 + sigma^2 / 2
    times score matching, and fails in the same way: the weights of modes farther apart than sigma
    are not learned.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the data, (N, ...), floating.
        sigma: the noise is y = x + sigma * standard normal, drawn by the library; finite, > 0. Give
            this or ``noise``.
        n_noise: kappa, with ``sigma``; default: 1.
        noise: noise samples that you drew for each example, (N, kappa, ...), like x: bit flips of
            binary data, say.
        log_ratio: with ``noise``: log p_c(y | x) - log p_c(x | y), (N, kappa), floating, finite.
            Default: 0, as for any symmetric distribution.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: both or neither of ``sigma`` and ``noise``, options out of range, or noise that
            does not fit x.
    """
    return run_criterion(
        "conditional_nce",
        energy,
        x,
        sigma=sigma,
        n_noise=n_noise,
        noise=noise,
        log_ratio=log_ratio,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
