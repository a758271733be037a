"""What all criteria have in common.

A criterion is a training objective, to be minimised, in which Z cancels or is learned. It
is called as ``criterion(energy, x, *, ...)``, is differentiable in the parameters of the energy,
and takes

* ``energy``: any callable or module that maps a batch (N, ...) to energies (N,);
* ``x``: the data, (N, ...), floating; they get no gradient;
* ``weights``: of the examples, (N,), floating or integer, >= 0 and not all 0; an example of weight
  0 does not count; default 1;
* ``reduction``: "mean", the (weighted) mean over the examples, shape (); "sum"; or "none", the
  (weighted) terms of the examples, (N,);
* ``generator``: source of the one key per call of a criterion that draws random numbers; default:
  torch's default generator. :func:`torch_ebm.maximum_likelihood` has no such argument.

All raise ValueError for an empty batch, for data or weights that are not finite, and for an unknown
reduction, and TypeError for data that are not floating. Exceptions of ``energy`` keep their type,
and NaN energies give NaN. Inside a scripted model call
``torch.ops.torch_ebm.<criterion>(self.energy, x, ...)``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from . import _library  # noqa: F401
from .energy import Energy, held_argument

Reduction = Literal["mean", "sum", "none"]


def run_criterion(op: str, energy: Energy, x: Tensor, **options: object) -> Tensor:
    """Calls the criterion's operator ``op``."""
    argument, registration = held_argument(energy)
    loss = getattr(torch.ops.torch_ebm, op)(argument, x, **options)
    if loss.grad_fn is not None and options.get("chunk_size") is not None:
        loss.grad_fn.metadata["torch_ebm.energy"] = registration  # the backward pass calls it
    return loss
