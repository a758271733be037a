"""log Z and log-probabilities by annealed importance sampling, and exactly where possible."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Optional

import torch
import torch_ebm
from torch import Tensor

from from_digits import Digits, mean_log_probability

MOST_EXACT = 25  # hidden units


def temperatures(n: int) -> Tensor:
    """``n`` steps from 0 to 1 in the proportions of Salakhutdinov & Murray (2008, section 4.1).

    The paper has 500 up to 0.5, 4000 up to 0.9 and 10,000 up to 1.
    """
    first, second = round(n * 500 / 14_500), round(n * 4_000 / 14_500)
    parts = ((0.0, 0.5, first), (0.5, 0.9, second), (0.9, 1.0, n - first - second))
    steps = [torch.linspace(a, b, k + 1, dtype=torch.float64)[:-1] for a, b, k in parts]
    return torch.cat([*steps, torch.ones(1, dtype=torch.float64)])


def evenly_spaced(n: int) -> Tensor:
    return torch.linspace(0, 1, n + 1, dtype=torch.float64)


def estimate(
    rbm: torch_ebm.RBM, digits: Digits, betas: Tensor, n_chains: int, generator: torch.Generator
) -> torch_ebm.LogZEstimate:
    """AIS from the base rates of the training images."""
    return torch_ebm.ais(
        rbm,
        n_chains=n_chains,
        betas=betas,
        base_visible_bias=torch_ebm.base_rate_bias(digits.train),
        generator=generator,
        progress=True,
    )


@dataclass(frozen=True)
class LogProbability:
    """Means over the images, in nats."""

    train: float
    test: float


def log_probability(rbm: torch_ebm.RBM, digits: Digits, log_z: Tensor) -> LogProbability:
    train, test = (mean_log_probability(rbm, x, log_z) for x in (digits.train, digits.test))
    return LogProbability(train, test)


@dataclass(frozen=True)
class Row:
    """One model with one number of chains."""

    model: str
    ais: torch_ebm.LogZEstimate
    by_ais: LogProbability
    log_z: Optional[float]
    exact: Optional[LogProbability]
    """None, as log_z, for models too large."""
    seconds: float


def measure(
    name: str,
    rbm: torch_ebm.RBM,
    digits: Digits,
    betas: Tensor,
    n_chains: int,
    generator: torch.Generator,
) -> Row:
    began = time.monotonic()
    ais = estimate(rbm, digits, betas, n_chains, generator)
    seconds = time.monotonic() - began
    by_ais = log_probability(rbm, digits, ais.log_z)
    if rbm.n_hidden > MOST_EXACT:
        return Row(name, ais, by_ais, None, None, seconds)
    log_z = rbm.log_z()
    return Row(name, ais, by_ais, log_z.item(), log_probability(rbm, digits, log_z), seconds)


@dataclass(frozen=True)
class Point:
    """The error of an estimate with some number of temperatures, against the exact log Z."""

    schedule: str
    n_temperatures: int
    error: float
    lower: float
    upper: float
    ess: float


def convergence(
    rbm: torch_ebm.RBM,
    digits: Digits,
    counts: list[int],
    n_chains: int,
    generator: torch.Generator,
) -> list[Point]:
    """AIS of a small model with every number of temperatures, in two schedules."""
    exact = rbm.log_z()
    points = []
    for name, schedule in (("as published", temperatures), ("evenly spaced", evenly_spaced)):
        for n in counts:
            ais = estimate(rbm, digits, schedule(n), n_chains, generator)
            errors = ((z - exact).item() for z in (ais.log_z, ais.lower, ais.upper))
            points.append(Point(name, n, *errors, ais.ess.item()))
    return points
