"""The targets of ess.py: energies in torch and in JAX, with exact means and variances."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Target:
    name: str
    dimension: int
    energy: nn.Module
    #: Returns the energy of one state, a function of a JAX array; imports JAX.
    jax_energy: Callable[[], Callable[[Any], Any]]
    mean: Tensor
    variance: Tensor


class GaussianEnergy(nn.Module):
    def __init__(self, precision: Tensor) -> None:
        super().__init__()
        self.register_buffer("precision", precision)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x @ self.precision * x).sum(1)


def gaussian(dimension: int = 100, condition_number: float = 100.0) -> Target:
    """N(0, P^-1), P with random eigenvectors."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(dimension, dimension, dtype=torch.float64, generator=generator)
    axes = torch.linalg.qr(square).Q
    scales = torch.logspace(0, math.log10(condition_number), dimension, dtype=torch.float64)
    precision = (axes * scales @ axes.t()).float()

    def jax_energy() -> Callable[[Any], Any]:
        from jax import numpy as jnp

        matrix = jnp.asarray(precision)
        return lambda x: 0.5 * x @ matrix @ x

    return Target(
        f"Gaussian, {dimension} dimensions, condition number {condition_number:g}",
        dimension,
        GaussianEnergy(precision),
        jax_energy,
        torch.zeros(dimension, dtype=torch.float64),
        (axes / scales @ axes.t()).diagonal(),
    )


#: Estimated effects of coaching in eight schools, and their standard errors (Rubin 1981).
EFFECT = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERROR = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
PRIOR_SCALE = 5.0


class EightSchoolsEnergy(nn.Module):
    """x = (mu, log tau, eta_1 .. eta_8): mu ~ N(0, 5^2), tau ~ half-Cauchy(5), eta_j ~ N(0, 1),
    y_j ~ N(mu + tau eta_j, sigma_j^2)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("effect", torch.tensor(EFFECT))
        self.register_buffer("error", torch.tensor(ERROR))

    def forward(self, x: Tensor) -> Tensor:
        mu, log_tau, eta = x[:, 0], x[:, 1], x[:, 2:]
        tau = log_tau.exp()
        residual = (self.effect - mu[:, None] - tau[:, None] * eta) / self.error
        prior = 0.5 * (mu / 5.0) ** 2 + torch.log1p((tau / 5.0) ** 2) - log_tau
        return prior + 0.5 * (residual**2 + eta**2).sum(1)


def eight_schools() -> Target:
    def jax_energy() -> Callable[[Any], Any]:
        from jax import numpy as jnp

        effect, error = jnp.asarray(EFFECT), jnp.asarray(ERROR)

        def energy(x: Any) -> Any:
            mu, log_tau, eta = x[0], x[1], x[2:]
            tau = jnp.exp(log_tau)
            residual = (effect - mu - tau * eta) / error
            prior = 0.5 * (mu / 5.0) ** 2 + jnp.log1p((tau / 5.0) ** 2) - log_tau
            return prior + 0.5 * (residual**2 + eta**2).sum()

        return energy

    mean, variance = eight_schools_moments()
    return Target(
        "eight schools, non-centred, 10 parameters",
        10,
        EightSchoolsEnergy(),
        jax_energy,
        mean,
        variance,
    )


def eight_schools_moments() -> tuple[Tensor, Tensor]:
    """By quadrature over (mu, log tau); given those, the eta are normal and independent."""
    grid = {"dtype": torch.float64}
    mu = torch.linspace(-40, 45, 1201, **grid)[:, None]
    log_tau = torch.linspace(-16, 8, 2401, **grid)[None, :]
    tau2 = torch.exp(2 * log_tau)
    log_density = log_tau - 0.5 * (mu / PRIOR_SCALE) ** 2 - torch.log1p(tau2 / PRIOR_SCALE**2)
    for y, sigma in zip(EFFECT, ERROR):
        total = sigma**2 + tau2
        log_density = log_density - 0.5 * ((y - mu) ** 2 / total + total.log())
    weight = torch.softmax(log_density.flatten(), 0).view_as(log_density)

    moments = [((weight * v).sum(), (weight * v**2).sum()) for v in (mu, log_tau)]
    for y, sigma in zip(EFFECT, ERROR):
        total = sigma**2 + tau2
        eta = tau2.sqrt() * (y - mu) / total
        moments.append(((weight * eta).sum(), (weight * (eta**2 + sigma**2 / total)).sum()))
    first, second = (torch.stack(m) for m in zip(*moments))
    return first, second - first**2


TARGETS: dict[str, Callable[[], Target]] = {"gaussian": gaussian, "eight_schools": eight_schools}
