"""log Z of a Gaussian energy."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ... import _library  # noqa: F401
from ...common._wrong_types import names_wrong_types


@names_wrong_types
def gaussian_log_z(precision: Tensor, linear: Optional[Tensor] = None) -> Tensor:
    """log Z of E(x) = x P x / 2 - b x over all of R^d: (d log(2 pi) - log det P + b P^-1 b) / 2.

    Differentiable in both: the gradient in b is the mean, and that in P is -E[x x] / 2.

    Args:
        precision: P, (d, d); only its symmetric part counts, as in the energy.
        linear: b, (d,); default: 0. For a mean mu, P mu; E then lacks the constant mu P mu / 2.

    Returns:
        One number, shape (), float64.

    Raises:
        ValueError: other shapes, or a P that is not positive definite.
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.gaussian_log_z(precision, linear)
