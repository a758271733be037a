"""Continuous targets with exact samples: what leaves them invariant keeps the law of such samples."""

from typing import Callable, NamedTuple

import numpy as np
import scipy.stats
import torch

import statistical_checks as checks
import torch_ebm
from energies import Gaussian
from known_values import case, seeded


class Target(NamedTuple):
    energy: Callable
    sample: Callable  # (n, seed) -> (n, d), float64
    check: Callable  # x (n, d): fails unless its rows are independent samples


class Law:
    """A law by its distribution function, as check_distribution takes it."""

    def __init__(self, cdf):
        self.cdf = cdf


def gaussian(name):
    values = case(name)
    mean, covariance = values.array("mu"), values.array("cov")
    factor = torch.linalg.cholesky(covariance)

    def sample(n, seed):
        noise = torch.randn(n, len(mean), generator=seeded(seed), dtype=torch.float64)
        return mean + noise @ factor.T

    def check(x):
        checks.check_mean(x, mean, covariance.diag(), "mean")
        white = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False).T
        checks.check_distribution(white.flatten(), scipy.stats.norm(), "whitened states")
        checks.check_uncorrelated_columns(white)

    return Target(Gaussian(mean, values.array("P")), sample, check)


def mixture(name):
    values = case(name)
    weights, means, scales = values.array("w"), values.array("m"), values.array("s")

    def energy(x):
        distance = (x[:, None] - means).square().sum(2) / (2 * scales**2)
        return -torch.logsumexp(weights.log() - x.shape[1] * scales.log() - distance, 1)

    def sample(n, seed):
        generator = seeded(seed)
        which = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, means.shape[1], generator=generator, dtype=torch.float64)
        return means[which] + scales[which, None] * noise

    def check(x):
        checks.check_mean(x, values.array("mean"), values.array("cov").diag(), "mean")
        for direction in torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64):
            parts = scipy.stats.norm(means @ direction, scales)
            law = Law(lambda q, parts=parts: parts.cdf(np.asarray(q)[:, None]) @ weights.numpy())
            checks.check_distribution(x @ direction, law, "projection")

    return Target(energy, sample, check)


def funnel(name):
    scale = case(name).params["sv"]

    def energy(x):
        v, rest = x[:, 0], x[:, 1:]
        squares = (-v).exp() * rest.square().sum(1)
        return v.square() / (2 * scale**2) + rest.shape[1] * v / 2 + squares / 2

    def sample(n, seed):
        noise = torch.randn(n, 2, generator=seeded(seed), dtype=torch.float64)
        v = scale * noise[:, 0]
        return torch.stack([v, (v / 2).exp() * noise[:, 1]], 1)

    def check(x):
        v = x[:, 0] / scale
        white = x[:, 1] * (-x[:, 0] / 2).exp()
        checks.check_distribution(v, scipy.stats.norm(), "neck")
        checks.check_distribution(white, scipy.stats.norm(), "width")
        both = torch.stack([v, white, v.square(), white.square()], 1)
        checks.check_uncorrelated_columns(both)

    return Target(energy, sample, check)


def double_well(name):
    values = case(name)
    a, t = values.params["a"], values.params["t"]

    def energy(x):
        return (a * (x.square() - 1).square() - t * x).sum(1)

    grid = torch.linspace(-3, 3, 200_001, dtype=torch.float64)
    below = torch.cumulative_trapezoid((-energy(grid[:, None])).exp(), grid)
    below = torch.cat([torch.zeros(1), below]).numpy() / below[-1].item()

    def sample(n, seed):
        uniform = torch.rand(n, generator=seeded(seed), dtype=torch.float64)
        return torch.as_tensor(np.interp(uniform, below, grid))[:, None]

    def check(x):
        moments = torch.cat([x, x.square(), (x > 0).double()], 1)
        expected = [values["E_x"], values["E_x2"], values["P_x_pos"]]
        checks.check_mean(moments, expected, what="moments")
        law = Law(lambda q: np.interp(q, grid, below))
        checks.check_distribution(x.flatten(), law, "double well")

    return Target(energy, sample, check)


TARGETS = {
    "gauss_d2_s70": gaussian,
    "gauss_d10_s71": gaussian,
    "gmm_d2_k5_s72": mixture,
    "funnel_d2_sv3": funnel,
    "doublewell_a4_t0.5": double_well,
}


def target(name) -> Target:
    return TARGETS[name](name)


def first_momenta(like, seed):
    """The momenta that HMC, MALA and NUTS draw first with this seed: on a flat energy they are what x moves by."""
    zero = torch.zeros_like(like)
    flat = torch_ebm.hmc(
        lambda x: 0 * x.flatten(1).sum(1), zero, step_size=1.0, n_leapfrog=1, generator=seeded(seed)
    )
    return flat.x


def check_reversible(x, y, edges):
    """Pairs (x, y), each (N,), fall into every two cells in one order as often as in the other."""
    edges = torch.as_tensor(edges, dtype=x.dtype)
    i, j = (torch.bucketize(z.contiguous(), edges) for z in (x, y))
    rows = []
    for a in range(len(edges) + 1):
        for b in range(a):
            mixed = ((i == a) & (j == b)) | ((i == b) & (j == a))
            if mixed.sum() >= 4 * checks.MIN_EXPECTED:
                rows.append(((i == a)[mixed].long(), [0.5, 0.5]))
    assert len(rows) > 3, "cells too small"
    checks.check_rows(rows, "pairs in both orders")
