"""Coverage of the 95% intervals of log Z, over random models with exact values.

    python benchmarks/coverage.py [--models 200] [--chains 100] [--betas 100] [KIND ...]

First, how often the interval covers for N log-normal weights whose logarithms have standard
deviation s. Then, for every kind of model: how many estimates warn, how many of the others cover
the exact value, how many of the others are wrong (the exact value lies outside an interval of twice
the width), and the typical width. Kinds differ in difficulty on purpose: some are annealed too
fast, so that there is something to warn about.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch_ebm
from torch.distributions import Bernoulli, Independent, Normal, OneHotCategorical
from tqdm import tqdm

DOUBLE = torch.float64
MALA = functools.partial(torch_ebm.mala, step_size=0.05, n_steps=3)


class Model(NamedTuple):
    """A model, the base and sampler of its chains, and its exact log Z."""

    energy: Callable[[torch.Tensor], torch.Tensor]
    base: object
    sampler: object
    log_z: float


def normal(generator: torch.Generator, *size: int) -> torch.Tensor:
    return torch.randn(*size, dtype=DOUBLE, generator=generator)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def coins(n: int) -> Independent:
    return Independent(Bernoulli(torch.full((n,), 0.5, dtype=DOUBLE)), 1)


def gaussian_base(d: int, scale: float) -> Independent:
    return Independent(Normal(torch.zeros(d, dtype=DOUBLE), scale), 1)


def rbm(g: torch.Generator) -> Model:
    model = torch_ebm.RBM(12, 8, dtype=DOUBLE)
    scale = uniform(g, 0.1, 2.0)
    with torch.no_grad():
        model.weight.copy_(scale * normal(g, 12, 8))
        model.visible_bias.copy_(0.5 * normal(g, 12))
        model.hidden_bias.copy_(0.5 * normal(g, 8))
    return Model(model, None, None, model.log_z().item())


def boltzmann_machine(g: torch.Generator) -> Model:
    n = 10
    model = torch_ebm.BoltzmannMachine(n, dtype=DOUBLE)
    scale = uniform(g, 0.1, 2.0)
    with torch.no_grad():
        w = scale * normal(g, n, n) / math.sqrt(n)
        model.weight.copy_((w + w.t()).fill_diagonal_(0))
        model.bias.copy_(0.5 * normal(g, n))
    exact = torch_ebm.exact_log_z(model, n, dtype=DOUBLE).item()
    return Model(model, coins(n), torch_ebm.gibbs, exact)


def ising(g: torch.Generator) -> Model:
    """A spin glass on a 4 x 4 torus, in units of 0 and 1."""
    size, beta = 4, uniform(g, 0.1, 0.8)
    down, right = beta * normal(g, size, size), beta * normal(g, size, size)
    field = 0.3 * normal(g, size, size)

    def energy(x: torch.Tensor) -> torch.Tensor:
        s = 2 * x.view(-1, size, size) - 1
        pairs = down * s * s.roll(-1, 1) + right * s * s.roll(-1, 2)
        return -(pairs + field * s).sum((1, 2))

    exact = torch_ebm.exact_log_z(energy, size * size, dtype=DOUBLE).item()
    return Model(energy, coins(size * size), torch_ebm.gibbs, exact)


def potts(g: torch.Generator) -> Model:
    """Fully connected, 5 sites of 4 states, as one-hot vectors."""
    n, q = 5, 4
    coupling = uniform(g, 0.1, 1.0) * normal(g, n, n, q, q)
    coupling = (coupling + coupling.permute(1, 0, 3, 2)) / 2
    field = 0.5 * normal(g, n, q)

    def energy(x: torch.Tensor) -> torch.Tensor:
        pairs = torch.einsum("niq,ijqr,njr->n", x, coupling, x)
        own = torch.einsum("niq,iqq,niq->n", x, coupling.diagonal().permute(2, 0, 1), x)
        return -(pairs - own) / 2 - (x * field).sum((1, 2))

    exact = torch_ebm.exact_log_z(energy, n, q, dtype=DOUBLE).item()
    base = Independent(OneHotCategorical(torch.full((n, q), 1 / q, dtype=DOUBLE)), 1)
    return Model(energy, base, functools.partial(torch_ebm.gibbs, categorical=True), exact)


def gaussian(g: torch.Generator) -> Model:
    d = 6
    a = normal(g, d, d)
    precision = a @ a.t() / d + 0.2 * torch.eye(d, dtype=DOUBLE)
    linear = normal(g, d)

    def energy(x: torch.Tensor) -> torch.Tensor:
        return (x @ precision * x).sum(1) / 2 - x @ linear

    exact = torch_ebm.gaussian_log_z(precision, linear).item()
    return Model(energy, gaussian_base(d, 2.0), MALA, exact)


def mixture(g: torch.Generator) -> Model:
    """Four Gaussians in the plane, close enough for chains to cross between them at first."""
    means = uniform(g, 0.5, 3.0) * normal(g, 4, 2)
    scales = 0.3 + 0.5 * torch.rand(4, dtype=DOUBLE, generator=g)
    weights = torch.softmax(normal(g, 4), 0)

    def energy(x: torch.Tensor) -> torch.Tensor:
        square = (x.unsqueeze(1) - means).square().sum(2) / (2 * scales**2)
        return -torch.logsumexp(torch.log(weights / scales**2) - square, 1)

    return Model(energy, gaussian_base(2, 4.0), MALA, math.log(2 * math.pi))


def network(g: torch.Generator) -> Model:
    """A network in the plane, with a quadratic term; log Z by quadrature."""
    mlp = torch_ebm.MLP([2, 16, 16, 1], activation="softplus", confinement=0.5).to(DOUBLE)
    scale = uniform(g, 0.5, 1.3)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.copy_(scale * normal(g, *parameter.shape) / math.sqrt(parameter.shape[-1]))
    exact = torch_ebm.quadrature_log_z(mlp, [-30.0] * 2, [30.0] * 2, n_panels=60, dtype=DOUBLE)
    assert exact.error < 1e-6 and exact.border < 1e-9, exact
    return Model(mlp, gaussian_base(2, 2.0), MALA, exact.log_z.item())


def double_wells(g: torch.Generator) -> Model:
    """Four independent double wells, with barriers that chains stop crossing along the path."""
    height, tilt = uniform(g, 0.5, 6.0), uniform(g, 0.0, 0.3)

    def well(x: torch.Tensor) -> torch.Tensor:
        return height * (x**2 - 1) ** 2 + tilt * x

    exact = torch_ebm.quadrature_log_z(
        lambda x: well(x[:, 0]), [-6.0], [6.0], n_panels=60, dtype=DOUBLE
    )
    return Model(lambda x: well(x).sum(1), gaussian_base(4, 1.5), MALA, 4 * exact.log_z.item())


KINDS = {
    f.__name__: f
    for f in (
        rbm, boltzmann_machine, ising, potts, gaussian, mixture, network, double_wells,
    )
}  # fmt: skip


def measure(kind: str, n_models: int, n_chains: int, n_betas: int) -> str:
    """One row of the table."""
    warned = covered = wrong = 0
    widths = []
    start = time.perf_counter()
    for seed in tqdm(range(n_models), desc=kind, leave=False):
        generator = torch.Generator().manual_seed(1_000_000 + seed)
        model = KINDS[kind](generator)
        estimate = torch_ebm.ais(
            model.energy,
            model.base,
            model.sampler,
            n_chains=n_chains,
            betas=n_betas,
            generator=generator,
        )
        if estimate.warning:
            warned += 1
            continue
        distance = abs(estimate.log_z - model.log_z)
        half = (estimate.upper - estimate.lower) / 2
        covered += bool(distance <= half)
        wrong += bool(distance > 2 * half)
        widths.append(2 * half.item())
    told = n_models - warned
    share = f"{covered / told:.3f}" if told else "-"
    width = f"{sorted(widths)[told // 2]:.3f}" if told else "-"
    seconds = time.perf_counter() - start
    return f"| {kind} | {n_models} | {warned} | {share} | {wrong} | {width} | {seconds:.0f} |"


def log_normal_weights(n_repeats: int = 2000) -> None:
    """A table of coverage for weights of mean 1."""
    generator = torch.Generator().manual_seed(0)
    spreads = (0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    print("| N | " + " | ".join(f"s = {s:g}" for s in spreads) + " |")
    print("| ---: |" + " ---: |" * len(spreads))
    for n in (20, 100, 1000):
        row = []
        for s in spreads:
            log_weights = s * normal(generator, n_repeats, n) - s**2 / 2
            estimates = [torch_ebm.log_z_from_weights(w, torch.zeros(())) for w in log_weights]
            covered = sum(bool(e.lower <= 0 <= e.upper) for e in estimates)
            row.append(f"{covered / n_repeats:.3f}")
        print(f"| {n} | " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--betas", type=int, default=100)
    arguments = parser.parse_args()
    unknown = set(arguments.kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown kinds {sorted(unknown)}; there are {', '.join(KINDS)}")
    if not arguments.kinds:
        log_normal_weights()
        print()
    print("| kind | models | warned | covered, of the others | wrong, not warned | width | s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for kind in arguments.kinds or KINDS:
        print(measure(kind, arguments.models, arguments.chains, arguments.betas), flush=True)


if __name__ == "__main__":
    main()
