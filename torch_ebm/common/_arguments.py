"""Conversions between what Python users write and what the operators take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return step_size if isinstance(step_size, Tensor) else _number_or_list("step_size", step_size)


def as_sigma(sigma: object) -> object:
    """Noise scales as the operators take them: a number, a list of numbers, or a tensor."""
    if isinstance(sigma, (float, int, Tensor)):
        return sigma
    if isinstance(sigma, (list, tuple)) and sigma and all(type(s) is float for s in sigma):
        return list(sigma)
    return _number_or_list("sigma", sigma)


def _number_or_list(name: str, value: object) -> Union[float, list[float]]:
    numbers = _numbers(name, value)
    if numbers.numel() == 0:
        raise ValueError(f"{name} must not be an empty list")  # no operator takes one
    return numbers.tolist()


def fill_parameters(module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies ``tensors`` into the parameters of those names.

    Raises:
        TypeError: other dtypes, or none at all.
        ValueError: other shapes or devices.
    """
    what = f"{type(module).__name__}.from_tensors"
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = tensors[name]
            if value.dtype != parameter.dtype:
                raise TypeError(
                    f"{what}: {name} must have dtype {parameter.dtype}, as the first weight, got"
                    f" {value.dtype}"
                )
            if value.shape != parameter.shape or value.device != parameter.device:
                raise ValueError(
                    f"{what}: {name} must have shape {tuple(parameter.shape)} on"
                    f" {parameter.device}, got {tuple(value.shape)} on {value.device}"
                )
            parameter.copy_(value)


def checked_matrix(what: str, weight: Tensor, symbols: str) -> Tensor:
    """``weight`` if it is a floating matrix.

    Raises:
        TypeError: it is not a floating tensor.
        ValueError: it is not a matrix.
    """
    if not (isinstance(weight, Tensor) and weight.is_floating_point()):
        got = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"{what} must be a floating tensor, got {got}")
    if weight.dim() != 2:
        raise ValueError(f"{what} must have shape {symbols}, got {tuple(weight.shape)}")
    return weight


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
