"""Conversions between what Python users write and what the operators take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch
from torch import Tensor


def as_beta(beta: Union[float, Tensor, None]) -> Optional[Tensor]:
    """An inverse temperature as the operators take it."""
    if beta is None or isinstance(beta, Tensor):
        return beta
    return torch.tensor(float(beta), dtype=torch.float64)


def as_ladder(betas: Union[Tensor, Sequence[float]]) -> Tensor:
    """Inverse temperatures, one a rung, as the operators take them."""
    return betas if isinstance(betas, Tensor) else torch.tensor(list(betas), dtype=torch.float64)
