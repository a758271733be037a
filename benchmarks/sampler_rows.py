"""The workloads of samplers for any energy: gradient-informed Gibbs sampling, and the overhead of
our loops over the gradients. In float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from models import (
    BoltzmannEnergy,
    IsingEnergy,
    MLPEnergy,
    coin_flips,
    score,
    without_parameter_gradients,
)
from row import Contender, Row
from rows import check_means
from torch import Tensor, nn

import torch_ebm

# --- Gibbs with gradients -------------------------------------------------------------------------


@torch.no_grad()
def after_gibbs_sweeps(energy: BoltzmannEnergy, x: Tensor, n_sweeps: int = 20) -> Tensor:
    """States near the target distribution, where moves are rejected and a wrong sampler drifts."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(n_sweeps):
        for unit in range(x.size(1)):
            p = torch.sigmoid(energy.bias[unit] + x @ energy.weight[:, unit])
            x[:, unit] = (torch.rand(len(x), generator=generator) < p).float()
    return x


def gibbs_with_gradients(n_units: int = 500, n_chains: int = 100, n_steps: int = 100) -> Row:
    energy = BoltzmannEnergy(n_units)
    start = after_gibbs_sweeps(energy, coin_flips(n_chains, n_units, seed=2))

    def closed_form() -> Callable[[], Tensor]:
        machine = torch_ebm.BoltzmannMachine(n_units)
        machine.load_state_dict(energy.state_dict())
        return ours(machine)

    def ours(module: nn.Module) -> Callable[[], Tensor]:
        return lambda: torch_ebm.gibbs_with_gradients(module, start, n_steps=n_steps).x

    def ebmkit() -> Callable[[], Tensor]:
        from ebm.samplers import GibbsWithGradients

        sampler = GibbsWithGradients(steps=n_steps)
        return lambda: sampler.sample(energy, start)

    def check(ours: Any, theirs: Any) -> None:
        for x in (ours, theirs):
            assert bool(((x == 0) | (x == 1)).all())
        ours, theirs = (
            torch.stack([energy(x).detach(), x.sum(1), (x != start).float().sum(1)], dim=1)
            for x in (ours, theirs)
        )
        check_means(ours, theirs)

    return Row(
        name="gibbs_with_gradients",
        title=f"Gibbs with gradients, Boltzmann machine, {n_units} units, {n_chains} chains,"
        f" {n_steps} steps a call",
        unit="step",
        units_per_call=n_steps,
        contenders=[
            Contender("torch_ebm.gibbs_with_gradients, BoltzmannMachine", closed_form),
            Contender("torch_ebm.gibbs_with_gradients, any module", lambda: ours(energy)),
            Contender("plain torch", lambda: plain_gibbs_with_gradients(energy, start, n_steps)),
            Contender("ebmkit", ebmkit),
        ],
        check=check,
        targets={"ebmkit": 5.0},
    )


def plain_gibbs_with_gradients(
    energy: nn.Module, start: Tensor, n_steps: int
) -> Callable[[], Tensor]:
    """Grathwohl et al. 2021, algorithm 1; one gradient per step, as the last one is kept."""
    frozen = without_parameter_gradients(energy)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = score(frozen, x)
        return value, torch.log_softmax((1 - 2 * x) * slope / 2, dim=1)

    def call() -> Tensor:
        x = start
        value, log_proposal = evaluate(x)
        for _ in range(n_steps):
            site = torch.multinomial(log_proposal.exp(), 1)
            flipped = x.scatter(1, site, 1 - x.gather(1, site))
            new_value, new_proposal = evaluate(flipped)
            log_ratio = (new_proposal - log_proposal).gather(1, site).squeeze(1) + value - new_value
            accepted = torch.rand_like(log_ratio).log() < log_ratio
            x = torch.where(accepted[:, None], flipped, x)
            value = torch.where(accepted, new_value, value)
            log_proposal = torch.where(accepted[:, None], new_proposal, log_proposal)
        return x

    return call


# --- Discrete Langevin ----------------------------------------------------------------------------


def discrete_langevin(side: int = 32, n_chains: int = 32, n_steps: int = 20) -> Row:
    energy = IsingEnergy()
    start = coin_flips(n_chains, side, side, seed=2)
    step_size = 0.2

    def ours() -> Callable[[], Tensor]:
        run = partial(torch_ebm.discrete_langevin, energy, step_size=step_size, n_steps=n_steps)
        return lambda: run(start).x

    def check(ours: Any, theirs: Any) -> None:
        ours, theirs = (
            torch.stack([energy(x).detach(), (x != start).float().sum((1, 2))], dim=1)
            for x in (ours, theirs)
        )
        check_means(ours, theirs)

    return Row(
        name="discrete_langevin",
        title=f"discrete Langevin with rejections, Ising energy {side}x{side}, {n_chains} chains,"
        f" {n_steps} steps a call",
        unit="step",
        units_per_call=n_steps,
        contenders=[
            Contender("torch_ebm.discrete_langevin", ours),
            Contender("plain torch", lambda: plain_discrete_langevin(energy, start, step_size, n_steps)),
        ],
        check=check,
        targets={"plain torch": 2.0},
    )


def plain_discrete_langevin(
    energy: nn.Module, start: Tensor, step_size: float, n_steps: int
) -> Callable[[], Tensor]:
    """Zhang, Liu & Liu 2022, algorithm 1; one gradient per step, as the last one is kept."""
    frozen = without_parameter_gradients(energy)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = score(frozen, x)
        return value, (1 - 2 * x) * slope / 2 - 1 / (2 * step_size)

    def log_probability(flipped: Tensor, logit: Tensor) -> Tensor:
        return torch.where(flipped, nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit)).sum((1, 2))

    def call() -> Tensor:
        x = start
        value, logit = evaluate(x)
        for _ in range(n_steps):
            flipped = torch.rand_like(x) < torch.sigmoid(logit)
            proposal = torch.where(flipped, 1 - x, x)
            new_value, new_logit = evaluate(proposal)
            forward, back = log_probability(flipped, logit), log_probability(flipped, new_logit)
            accepted = torch.rand_like(value).log() < value - new_value + back - forward
            x = torch.where(accepted[:, None, None], proposal, x)
            value = torch.where(accepted, new_value, value)
            logit = torch.where(accepted[:, None, None], new_logit, logit)
        return x

    return call


# --- The overhead of the loop around the gradients ------------------------------------------------

#: For each sampler: its options, and the least number of gradients for a number of steps.
OVERHEAD: dict[str, tuple[dict[str, Any], Callable[[int], int]]] = {
    "langevin": ({"step_size": 0.01}, lambda n_steps: n_steps),
    "mala": ({"step_size": 0.01}, lambda n_steps: n_steps + 1),
    "hmc": ({"step_size": 0.01, "n_leapfrog": 10}, lambda n_steps: 10 * n_steps + 1),
    "gibbs_with_gradients": ({}, lambda n_steps: n_steps + 1),
}


def overhead(sampler: str, width: int, n_chains: int = 256, n_steps: int = 20) -> Row:
    """At least 0.90 of a sampler's time is gradients: less than 0.10 is ours."""
    options, n_gradients_of = OVERHEAD[sampler]
    n_gradients = n_gradients_of(n_steps)
    energy = MLPEnergy(784, width, width)
    start = coin_flips(n_chains, 784, seed=0)
    limit = "limit: its gradients alone, plain torch"

    def ours() -> Callable[[], Tensor]:
        run = partial(getattr(torch_ebm, sampler), energy, n_steps=n_steps, **options)
        return lambda: run(start).x

    def gradients() -> Callable[[], None]:
        frozen = without_parameter_gradients(energy)

        def call() -> None:
            for _ in range(n_gradients):
                score(frozen, start)

        return call

    return Row(
        name=f"overhead_{sampler}_{width}",
        title=f"{sampler}, MLP energy 784-{width}-{width}-1, {n_chains} chains, {n_steps} steps",
        unit="gradient",
        units_per_call=n_gradients,
        contenders=[
            Contender(f"torch_ebm.{sampler}", ours),
            Contender(limit, gradients, is_limit=True),
        ],
        check=lambda ours, theirs: None,
        targets={limit: 0.90},
    )


ROWS: dict[str, Callable[[], Row]] = {
    "gibbs_with_gradients": gibbs_with_gradients,
    "discrete_langevin": discrete_langevin,
    **{
        f"overhead_{sampler}_{width}": partial(overhead, sampler, width)
        for sampler in OVERHEAD
        for width in (256, 1024)
    },
}
