"""Energy discrepancy: compares data with their perturbations, without scores or Markov chains."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def energy_discrepancy(
    energy: Energy,
    x: Tensor,
    *,
    t: Optional[float] = None,
    flip_probability: Optional[float] = None,
    n_samples: int = 16,
    stabilisation: float = 1.0,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Energy discrepancy (Schröder, Ou, Lim, Li, Vollmer & Duncan 2023; for discrete data, Schröder
    et al. 2024). An example x is perturbed to y, drawn from q(y | x), and y is then perturbed M
    times by the same q to x'_1, ..., x'_M. With w = ``stabilisation``::

        l(x) = log( w / M + (1 / M) sum_j exp(E(x) - E(x'_j)) )

    Continuous data are perturbed by N(0, t I). For binary data, each bit is flipped with
    probability ``flip_probability``.

    Consistent at w = 1, for any M: l(x) + log M is then minus the log probability that x, and none
    of the x'_j, is the one of these M + 1 states that was drawn from the model, as in the ranking
    form of noise contrastive estimation (Ma & Collins 2018). Any other w is consistent only as M
    grows; at w = 0 the gradient has a high variance where no x'_j is likely. It fails where
    perturbations are uninformative. Small ones leave the weights of distant modes unlearned. Large
    ones, above all in many dimensions, lead to states that even a bad model tells from the data.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: (N, ...), floating; zeros and ones with ``flip_probability``.
        t: the variance of the perturbation of continuous data, > 0.
        flip_probability: for each bit of binary data, between 0 and 1. Give this or ``t``.
        n_samples: M, the number of perturbed states that an example is compared with.
        stabilisation: w >= 0.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: both or neither of ``t`` and ``flip_probability``, states other than 0 and 1 for
            the latter, or options out of range.
    """
    return run_criterion(
        "energy_discrepancy",
        energy,
        x,
        t=t,
        flip_probability=flip_probability,
        n_samples=n_samples,
        stabilisation=stabilisation,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
