"""The kernel Stein discrepancy between data and model."""

from __future__ import annotations

from typing import Literal, Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@torch.compiler.disable
@names_wrong_types
def kernel_stein_discrepancy(
    energy: Energy,
    x: Tensor,
    *,
    statistic: Literal["u", "v"] = "u",
    kernel: Literal["imq", "rbf"] = "imq",
    exponent: Optional[float] = None,
    bandwidth: Optional[float] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """The squared kernel Stein discrepancy (Liu, Lee & Jordan 2016; Chwialkowski, Strathmann &
    Gretton 2016) between the data and the model: with the score s = -dE/dx, the mean over pairs x,
    y of examples of::

        u(x, y) = k s(x).s(y) + s(x).dk/dy + s(y).dk/dx + trace d^2k/dxdy,     k = k(x, y)

    The term of example n is the mean over m of u(x_n, x_m), so that ``reduction="mean"`` is the
    statistic. Examples with weights w have probabilities w / sum w: the statistic is then
    sum w_n w_m u(x_n, x_m) / sum w_n w_m over its pairs, and the term of an example depends on all
    weights.

    Consistent: in expectation, the discrepancy is 0 only for the true distribution. It fails as
    score matching does, because only the tails of the kernel see the weights of distant modes, and
    it loses power as the dimension grows. Scores are first derivatives, so ReLU networks work. Time
    and memory grow with N^2: use minibatches.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,), differentiable in x.
        x: (N, ...), floating.
        statistic: "u", over pairs of different examples, unbiased and sometimes negative, or "v",
            over all pairs, >= 0, and too large, for the true model, by the mean of u(x, x) over N.
        kernel: "imq", (1 + |x - y|^2 / bandwidth^2)^exponent, or "rbf",
            exp(-|x - y|^2 / (2 bandwidth^2)), whose discrepancy can vanish for samples that do not
            converge in 3 dimensions and more (Gorham & Mackey 2017).
        exponent: between -1 and 0, for "imq" only; default: -1/2.
        bandwidth: > 0; default: the median distance between two examples, whatever their weights.
            No gradient goes through it.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: unknown or invalid options, fewer than 2 examples (of weight > 0) where pairs of
            different ones are needed, no bandwidth although half of the pairs of examples agree, or
            an energy that does not depend differentiably on x.
    """
    return run_criterion(
        "kernel_stein_discrepancy",
        energy,
        x,
        statistic=statistic,
        kernel=kernel,
        exponent=exponent,
        bandwidth=bandwidth,
        weights=weights,
        reduction=reduction,
        generator=generator,
    )
