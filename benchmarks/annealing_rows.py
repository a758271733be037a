"""The overhead of annealing over its transitions, and of a run in stages over a single one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from models import BoltzmannEnergy, MLPEnergy, coin_flips, normal
from row import Contender, Row
from torch import Tensor, nn

import torch_ebm
from torch_ebm.samplers.sampler import Sampler, states_of

# --- Annealing and its transitions ------------------------------------------------------------------


def annealing(
    name: str, title: str, energy: nn.Module, x: Tensor, sampler: Sampler, n_temperatures: int
) -> Row:
    """Annealing with weights against the same transitions alone, at the same temperatures."""
    betas = torch_ebm.linear_schedule(n_temperatures)

    def ours() -> Callable[[], Tensor]:
        return lambda: torch_ebm.anneal(energy, x, betas, sampler).log_weights

    def transitions() -> Callable[[], None]:
        def call() -> None:
            states = x
            for beta in betas[1:]:
                states = states_of(sampler(energy, states, beta=beta, generator=None))

        return call

    return Row(
        name=name,
        title=f"annealing, {title}, {len(x)} chains, {n_temperatures} temperatures",
        unit="temperature",
        units_per_call=n_temperatures,
        contenders=[
            Contender("torch_ebm.anneal", ours),
            Contender("limit: its transitions alone", transitions, is_limit=True),
        ],
        check=lambda ours, theirs: None,  # a limit has no result
    )


def anneal_mlp(
    name: str,
    sampler: Sampler,
    what: str,
    n_chains: int = 256,
    n_units: int = 64,
    width: int = 256,
    n_temperatures: int = 30,
) -> Row:
    normal_law = torch.distributions.Normal(torch.zeros(n_units), 1.0)
    base = torch.distributions.Independent(normal_law, 1, validate_args=False)
    path = torch_ebm.annealed_energy(MLPEnergy(n_units, width, width), base)
    title = f"{what}, MLP {n_units}-{width}-{width}-1"
    return annealing(name, title, path, normal(n_chains, n_units, seed=1), sampler, n_temperatures)


def anneal_gibbs(
    name: str,
    energy: nn.Module,
    n_units: int,
    what: str,
    n_chains: int = 256,
    n_temperatures: int = 100,
) -> Row:
    x = coin_flips(n_chains, n_units, seed=1)
    return annealing(name, what, energy, x, torch_ebm.gibbs, n_temperatures)


def boltzmann(n_units: int) -> torch_ebm.BoltzmannMachine:
    machine = torch_ebm.BoltzmannMachine(n_units)
    machine.load_state_dict(BoltzmannEnergy(n_units).state_dict())
    return machine


def rbm(n_visible: int, n_hidden: int) -> torch_ebm.RBM:
    model = torch_ebm.RBM(n_visible, n_hidden)
    with torch.no_grad():
        model.weight.copy_(normal(n_visible, n_hidden, seed=1) / math.sqrt(n_visible))
    return model


# --- A run in stages --------------------------------------------------------------------------------


def stages(n_visible: int, n_hidden: int, n_chains: int = 100, n_temperatures: int = 1000) -> Row:
    """torch_ebm.ais of an RBM, which can be interrupted a hundred times, against one operator."""
    model = rbm(n_visible, n_hidden)
    betas = torch_ebm.linear_schedule(n_temperatures)

    def staged() -> Callable[[], Tensor]:
        return lambda: torch_ebm.ais(model, n_chains=n_chains, betas=betas).log_z

    def at_once() -> Callable[[], Tensor]:
        parameters = [p.detach() for p in (model.weight, model.visible_bias, model.hidden_bias)]

        @torch.no_grad()
        def call() -> Tensor:
            log_weights, _ = torch.ops.torch_ebm.rbm_ais(
                *parameters, parameters[1], betas, n_chains=n_chains
            )
            log_z_base = (n_visible + n_hidden) * math.log(2)
            return torch_ebm.log_z_from_weights(
                log_weights, torch.tensor(log_z_base).double()
            ).log_z

        return call

    def check(ours: Any, theirs: Any) -> None:
        assert abs(float(ours) - float(theirs)) < 1.0, f"log Z = {ours} and {theirs}"

    return Row(
        name=f"ais_stages_{n_visible}x{n_hidden}",
        title=f"AIS in stages, RBM {n_visible}x{n_hidden}, {n_chains} chains,"
        f" {n_temperatures} temperatures",
        unit="temperature",
        units_per_call=n_temperatures,
        contenders=[Contender("torch_ebm.ais", staged), Contender("one rbm_ais", at_once)],
        check=check,
    )


ROWS: dict[str, Callable[[], Row]] = {
    "anneal_hmc": lambda: anneal_mlp(
        "anneal_hmc", partial(torch_ebm.hmc, step_size=0.05), "HMC, 10 leapfrog steps"
    ),
    "anneal_mala": lambda: anneal_mlp(
        "anneal_mala", partial(torch_ebm.mala, step_size=0.05), "MALA"
    ),
    "anneal_mala3": lambda: anneal_mlp(
        "anneal_mala3", partial(torch_ebm.mala, step_size=0.05, n_steps=3), "MALA, 3 steps"
    ),
    "anneal_boltzmann": lambda: anneal_gibbs(
        "anneal_boltzmann", boltzmann(64), 64, "Gibbs sweeps, Boltzmann machine, 64 units"
    ),
    "anneal_rbm": lambda: anneal_gibbs(
        "anneal_rbm", rbm(784, 500), 784, "block Gibbs, RBM 784x500", n_temperatures=30
    ),
    "ais_stages_784x500": lambda: stages(784, 500),
    "ais_stages_64x16": lambda: stages(64, 16),
}
