"""Arguments of fuzzed calls: ones that fit, ones that are bent a little, and junk."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

N, D, H, R = 3, 4, 2, 3  # chains, units, hidden units, rungs or knots

HUGE = [2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63), -(2**31) - 1]
INTEGERS = [-3, -1, 0, 1, 2, 3, 4, 7, 17, 1000, *HUGE]
FLOATS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1e-30, 1e30, 1.8e308, -1.0, 0.5, 1.0, 3.0]
STRINGS = ["", "mean", "sum", "none", "mala", "hmc", "normal", "uniform", "\x00", "ü" * 3, "x" * 5000]
DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
]


class UserError(Exception):
    """What a user's own energy or sampler raises."""


# --- Tensors that do not fit ----------------------------------------------------------------------


def _spoiled(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    if x.numel() and x.is_floating_point():
        x.view(-1)[0] = value
    return x


def _resized(rng: random.Random, x: Tensor) -> Tensor:
    shape = list(x.shape) or [1]
    shape[rng.randrange(len(shape))] = rng.choice([0, 1, 2, 3, 5, 33])
    return torch.zeros(shape, dtype=x.dtype)


def _strided(x: Tensor) -> Tensor:
    return torch.stack([x, x], -1)[..., 0]


def _overlapping(x: Tensor) -> Tensor:
    memory = torch.zeros(x.numel() + 8, dtype=x.dtype)
    return memory.as_strided(x.shape, [1] * x.dim())


def _expanded(x: Tensor) -> Tensor:
    return x[:1].expand(x.shape) if x.dim() and len(x) else x.expand(2, *x.shape)


def _mkldnn(x: Tensor) -> Tensor:
    return x.float().to_mkldnn()


def _quantized(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)


def _compressed(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1] if x.dim() else 1).to_sparse_csr()


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


def bent(rng: random.Random, x: Tensor) -> Tensor:
    """A tensor near x: of another shape, memory, dtype, layout or device, or with other values."""
    change = rng.choice(
        [
            lambda: _resized(rng, x),
            lambda: _resized(rng, x),
            lambda: x.unsqueeze(rng.randrange(x.dim() + 1)),
            lambda: x[0] if x.dim() and len(x) else x,
            lambda: x.flatten(),
            lambda: x.transpose(0, -1) if x.dim() else x,
            lambda: x.reshape(-1)[:0],
            lambda: torch.zeros((), dtype=x.dtype),
            lambda: torch.cat([x, x]) if x.dim() else x,
            lambda: _strided(x),
            lambda: _overlapping(x),
            lambda: _expanded(x),
            lambda: _inference(x),
            lambda: x.to(rng.choice(DTYPES)),
            lambda: x.to(rng.choice(DTYPES)),
            lambda: x.to("meta"),
            lambda: x.to_sparse(),
            lambda: _compressed(x),
            lambda: _mkldnn(x),
            lambda: _quantized(x),
            lambda: torch.nested.nested_tensor([x, x]),
            lambda: x.clone().requires_grad_() if x.is_floating_point() else x,
            lambda: torch.nn.Parameter(x.clone(), x.is_floating_point()),
            lambda: _spoiled(x, rng.choice(FLOATS)),
            lambda: _spoiled(x, rng.choice(FLOATS)),
            lambda: -x,
            lambda: x * rng.choice([1e38, 1e-38, 0, 0.5, 2]),
            lambda: x + rng.choice([1, -1, 100]),
        ]
    )
    try:
        return change()
    except (RuntimeError, NotImplementedError, IndexError):  # torch cannot make this one
        return x[:0] if x.dim() else x


def junk(rng: random.Random) -> Any:
    """Something of a wrong type."""
    return rng.choice(
        [
            None,
            True,
            -1,
            2**63 - 1,
            2**70,
            0.5,
            math.nan,
            1j,
            "text",
            b"bytes",
            [],
            [1.0, 2.0],
            [[1, 0], [1]],
            (1, 2),
            {"a": 1},
            {1, 2},
            range(3),
            np.ones((N, D)),
            np.float32(1),
            np.array("text"),
            object(),
            int,
            torch.float32,
            torch.device("cpu"),
            torch.Size([2]),
            torch.Generator(),
            torch.nn.Linear(D, 1),
            lambda *arguments, **options: None,
            _user_error,
            torch.ones(N, D),
            [torch.ones(N, D)],
        ]
    )


def plain_junk(rng: random.Random) -> Any:
    """The same, of the types that every argument `Any` of an operator may have."""
    return rng.choice(
        [None, True, -1, 2**63 - 1, 0.5, math.nan, 1j, "text", [1.0, 2.0], (1, 2), torch.ones(N, D)]
        + [[torch.ones(N, D)], {"a": 1}, torch.device("cpu")]
    )


def _user_error(*arguments: object, **options: object) -> None:
    raise UserError("a user's own error")


# --- Energies and samplers ------------------------------------------------------------------------


def _flat(x: Tensor) -> Tensor:
    return x.reshape(x.size(0), -1)


class QuadraticEnergy(torch.nn.Module):
    """Normal in the reals, and finite for binary states."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x * x).reshape(x.size(0), -1).sum(1)


class WithMethods:
    """An energy each of whose methods may be right, or wrong in its own way."""

    METHODS = (
        "gibbs",
        "gibbs_with_gradients",
        "tempered",
        "base_energy",
        "value_and_score",
        "flip_differences",
    )

    def __init__(self, rng: random.Random, right: bool = False) -> None:
        for name in rng.sample(self.METHODS, 2):
            method = getattr(self, "right_" + name)
            setattr(self, name, method if right else rng.choice([method, _returns(rng)]))

    def __call__(self, x: Tensor) -> Tensor:
        return _flat(x).sum(1)

    def right_gibbs(self, x, n_steps, beta, clamp, generator):
        return x

    def right_gibbs_with_gradients(self, x, n_steps, beta, generator):
        return x, torch.ones(len(x), dtype=torch.float64)

    def right_tempered(self, x, beta):
        return beta * self(x)

    def right_base_energy(self, x):
        return 0 * self(x)

    def right_value_and_score(self, x):
        return self(x), -torch.ones_like(x)

    def right_flip_differences(self, x, sites):
        differences = (1 - 2 * _flat(x)).detach()
        return differences if sites is None else differences.gather(1, sites)


def _returns(rng: random.Random) -> Any:
    """A function that returns, or raises, the wrong thing."""
    wrong = rng.choice([lambda x: junk(rng), lambda x: bent(rng, x), lambda x: (x, x, x)])

    def function(*arguments: Any, **options: Any) -> Any:
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        return wrong(tensors[0].detach() if tensors else torch.ones(N))

    return function


def _inverted(x: Tensor) -> Tensor:
    return x.add_(1).reshape(len(x), -1).sum(1)


def good_energy(rng: random.Random) -> Any:
    return rng.choice(
        [
            lambda x: _flat(x).sum(1),
            lambda x: 0.5 * _flat(x).square().sum(1),
            QuadraticEnergy(),
            WithMethods(rng, right=True),
        ]
    )


def bad_energy(rng: random.Random) -> Any:
    return rng.choice(
        [
            WithMethods(rng),
            WithMethods(rng),
            _returns(rng),
            _user_error,
            _inverted,
            lambda x: _flat(x).sum(1) * rng.choice(FLOATS),
            lambda x: _flat(x).sum(1).detach(),
            lambda x: _flat(x).sum(1).to(rng.choice(DTYPES)),
            lambda x: _flat(x).sum(1)[: rng.randrange(4)],
            lambda x: _flat(x).sum(1, keepdim=True),
            lambda x: torch.ones(len(x)),
        ]
    )


def good_sampler(energy, x, *, beta=None, generator=None):
    return x


def bad_sampler(rng: random.Random) -> Any:
    def sampler(energy: Any, x: Tensor, **options: Any) -> Any:
        return rng.choice([lambda: bent(rng, x), lambda: junk(rng), lambda: (x, x, x)])()

    return rng.choice([sampler, sampler, _returns(rng), _user_error])


# --- Values of a given type -----------------------------------------------------------------------


def integer(rng: random.Random) -> int:
    return rng.choice(INTEGERS)


def any_tensor(rng: random.Random) -> Tensor:
    shape = [rng.choice([0, 1, 2, 3, 4]) for _ in range(rng.randrange(4))]
    fill = rng.choice([torch.zeros, torch.ones, torch.rand, torch.randn])
    return bent(rng, fill(shape))
