"""Denoising score matching: learns the score of the smoothed data from the added noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_sigma
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def denoising_score_matching(
    energy: Energy,
    x: Tensor,
    *,
    sigma: Union[float, Sequence[float], Tensor],
    weighting: Optional[Literal["none", "sigma_squared"]] = None,
    noise: Optional[Tensor] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Denoising score matching (Vincent 2011). With the score s = -dE/dx and x~ = x + sigma noise,
    noise ~ N(0, I)::

        l(x) = | s(x~) + (x~ - x) / sigma^2 |^2 / 2

    and sigma^2 times that with ``weighting="sigma_squared"`` (Song & Ermon 2019).

    Consistent for the distribution of x~, not of x: exp(-E) becomes the density of the data
    smoothed by N(0, sigma^2 I). For Gaussian data of covariance S, this has covariance
    S + sigma^2 I. An energy depends on x alone, not on the noise level: with several sigmas its
    score becomes the best compromise between the smoothed densities, and matches none of them.

    Only first derivatives of the energy in x are taken, so ReLU networks work.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,), differentiable in x.
        x: (N, ...), floating.
        sigma: > 0: one number; a list of levels, of which each example draws one; or a tensor,
            (N,), one for each example.
        weighting: default: "none" for a single sigma, where it is only a constant factor, else
            "sigma_squared", without which the smallest sigma dominates.
        noise: like x: used in place of the noise N(0, I) that is drawn otherwise.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        TypeError: a ``sigma`` that is not made of numbers.
        ValueError: a ``sigma`` that is not positive and finite or does not fit, an unknown
            weighting, or an energy that does not depend differentiably on x.
    """
    return run_criterion(
        "denoising_score_matching",
        energy,
        x,
        sigma=as_sigma(sigma),
        weighting=weighting,
        noise=noise,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
