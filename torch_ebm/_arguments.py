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
    return _numbers("beta", beta)


def as_ladder(betas: Union[Tensor, Sequence[float]]) -> Tensor:
    """Inverse temperatures, one per rung, as the operators take them."""
    ladder = betas.clone() if isinstance(betas, Tensor) else _numbers("betas", betas)
    if ladder.dim() != 1:
        raise ValueError(f"betas must have shape (R,), got {tuple(ladder.shape)}")
    return ladder


def as_step_size(step_size: object) -> object:
    """A step size as the operators take it: a number, a list of numbers, or a tensor."""
    if isinstance(step_size, Tensor):
        return step_size
    return _numbers("step_size", step_size).tolist()


def as_sigma(sigma: object) -> object:
    """Noise scales as the operators take them: a number, a list of numbers, or a tensor."""
    if isinstance(sigma, Tensor):
        return sigma
    numbers = _numbers("sigma", sigma)
    if numbers.numel() == 0:
        raise ValueError("sigma must not be an empty list")  # no operator takes one
    return numbers.tolist()


def as_number(value: Union[float, Tensor]) -> float:
    """One number, without its graph."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def as_bounds(bounds: Optional[Sequence[float]]) -> tuple[Optional[float], Optional[float]]:
    """(low, high), or (None, None)."""
    if bounds is None:
        return None, None
    pair = _numbers("bounds", bounds)
    if pair.shape != (2,):
        raise ValueError(f"bounds must be two numbers, (low, high), got {bounds}")
    return pair[0].item(), pair[1].item()


def _numbers(name: str, values: object) -> Tensor:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be numbers, got {values!r}")
    try:
        return torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be numbers, got {values!r}") from error


def as_generator(generator: Optional[torch.Generator]) -> torch.Generator:
    """The generator, or a new one, seeded from torch's default."""
    return generator or torch.Generator().manual_seed(torch.randint(2**62, ()).item())
