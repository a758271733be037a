"""Maximum likelihood as a criterion."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from .criterion import Reduction, run_criterion


@names_wrong_types
def maximum_likelihood(
    energy: Energy,
    x: Tensor,
    *,
    negative_samples: Optional[Tensor] = None,
    log_z: Union[float, Tensor, None] = None,
    negative_weights: Optional[Tensor] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood as a criterion::

        l(x) = E(x) + log Z

    log Z is ``log_partition(energy, negative_samples, log_z, negative_weights)``, or, without
    negative samples, ``log_z``, which must then be differentiable itself: ``maximum_likelihood(rbm,
    x, log_z=rbm.log_z())``.

    Consistent, and the most efficient of all criteria, but only as good as its log Z.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the data, (N, ...), floating.
        negative_samples: samples of the model, (M, ...), like x, which give log Z its gradient;
            they get none themselves.
        log_z: one number. With negative samples, only its value counts; if it is then left out, the
            value of the criterion is the energy gap, whose gradient is the same.
        negative_weights: of the negative samples, (M,); see :func:`torch_ebm.log_partition`.
        weights, reduction: see :mod:`torch_ebm.criteria.criterion`.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: neither negative samples nor log_z, or negative samples that do not fit x.
    """
    if log_z is not None and not isinstance(log_z, Tensor):
        log_z = torch.tensor(float(log_z), dtype=torch.float64)
    return run_criterion(
        "maximum_likelihood",
        energy,
        x,
        negative_samples=negative_samples,
        log_z=log_z,
        negative_weights=negative_weights,
        weights=weights,
        reduction=reduction,
    )
