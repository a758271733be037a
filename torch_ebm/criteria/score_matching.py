"""Score matching: a criterion for continuous data that needs no noise."""

from __future__ import annotations

from typing import Literal, Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def score_matching(
    energy: Energy,
    x: Tensor,
    *,
    domain: Literal["real", "nonnegative", "box"] = "real",
    low: Optional[float] = None,
    high: Optional[float] = None,
    chunk_size: Optional[int] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Score matching (Hyvarinen 2005) of continuous data. With the score s = -dE/dx and a weight
    h::

        l(x) = sum_i [ h(x_i) s_i^2 / 2 + h(x_i) ds_i/dx_i + h'(x_i) s_i ]

    the sum over the D dimensions, not their mean. Its expectation is, up to a constant, that of
    sum_i h(x_i) (s_i - t_i)^2 / 2, where t is the score of the data.

    =================  ====================  =========================  ============================
    ``domain``         the data              h(x_i)
    =================  ====================  =========================  ============================
    ``"real"``         any                   1                          Hyvarinen 2005
    ``"nonnegative"``  x_i >= 0              x_i^2                      Hyvarinen 2007
    ``"box"``          low <= x_i <= high    (x_i - low)(high - x_i)    Yu, Drton & Shojaie 2022
    =================  ====================  =========================  ============================

    h p s must vanish where the domain ends, which h ensures. Without h, a density that does not
    vanish at the end of the domain would bias the score there.

    Consistent. It fails where the data's density has distant parts, whose weights are not learned,
    and for an energy without second derivatives. If all of them are exactly 0, as for a ReLU
    network, it warns (once per process; the quadratic term of a confined network hides this). Then
    use a smooth activation, or :func:`denoising_score_matching`. The Laplacian is exact and takes D
    passes of autograd besides that of the score; :func:`sliced_score_matching` takes one.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,), twice differentiable in
            x.
        x: (N, ...), floating. Exactly at an end of the domain, an infinite energy gives NaN.
        domain, low, high: see above; ``low`` and ``high`` are for ``"box"`` only.
        chunk_size: about how many second derivatives, of the N D, are computed at a time; the
            backward pass recomputes them, see :func:`torch_ebm.pseudolikelihood`. Default: as
            many as hold about 2^20 numbers, with the graph of all.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`; no random numbers
            are drawn.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: data outside the domain, an unknown domain, a box with ``low`` >= ``high``, or
            an energy that does not depend differentiably on x.
    """
    return run_criterion(
        "score_matching",
        energy,
        x,
        domain=domain,
        low=low,
        high=high,
        chunk_size=chunk_size,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
