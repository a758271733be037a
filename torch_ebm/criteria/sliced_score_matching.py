"""Sliced score matching: the Laplacian of score matching from random projections."""

from __future__ import annotations

from typing import Literal, Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def sliced_score_matching(
    energy: Energy,
    x: Tensor,
    *,
    projections: Union[Literal["rademacher", "gaussian"], Tensor] = "rademacher",
    n_projections: Optional[int] = None,
    variance_reduced: bool = True,
    method: Literal["autograd", "finite_difference"] = "autograd",
    eps: float = 0.01,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Sliced score matching (Song, Garg, Shi & Ermon 2019). With the score s = -dE/dx and M random
    projections v_m of each example::

        l(x) = 1/M sum_m [ v_m' (ds/dx) v_m + |s|^2 / 2 ]

    or, without ``variance_reduced``, with (v_m' s)^2 / 2 in place of |s|^2 / 2. A projection is of
    a whole example, and nothing is divided by D: the expectation over the projections is
    :func:`score_matching`.

    With ``method="finite_difference"`` (Pang et al. 2020) derivatives along v come from the
    energies E+ and E- at x + eps v and x - eps v::

        v' (ds/dx) v = -(E+ - 2 E + E-) / eps^2        v's = -(E+ - E-) / (2 eps)

    whose bias is O(eps^2), and 0 for a quadratic energy. Rounding adds about u abs(E) / eps^2,
    where u is 6e-8 in float32 and 1e-16 in float64. The only derivative in x left is that of |s|^2,
    if the variance is reduced.

    Consistent; finite differences up to their bias. It fails where :func:`score_matching` does, and
    with autograd it gives the same warning.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,), twice differentiable in
            x.
        x: (N, ...), floating.
        projections: "rademacher", signs, or "gaussian"; signs give the smaller variance. Or the
            projections themselves, (M, N, ...), like x.
        n_projections: M, drawn for every example; default: 1.
        variance_reduced: use the exact |s|^2 / 2; this costs extra only with finite differences.
        method, eps: see above; ``eps`` is used by finite differences only.
        chunk_size: how many second derivatives, of the N M, are computed at a time; see
            :func:`score_matching`.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: options out of range, projections of another shape, or an energy that does not
            depend differentiably on x.
    """
    if isinstance(projections, Tensor):
        if n_projections is not None:
            raise ValueError(
                "sliced_score_matching: n_projections must be left out with projections of your own"
            )
        drawn = {"vectors": projections}
    else:
        n = 1 if n_projections is None else n_projections
        drawn = {"projections": projections, "n_projections": n}
    return run_criterion(
        "sliced_score_matching",
        energy,
        x,
        **drawn,
        variance_reduced=variance_reduced,
        method=method,
        eps=eps,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
