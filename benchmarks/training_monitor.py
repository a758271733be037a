"""How often TrainingMonitor is right: trainings that fail and trainings that go well.

    python benchmarks/training_monitor.py [--seeds 10] [--epochs 10] [PART OF A NAME ...]

Prints, for every kind of run, in how many an epoch was reported, and what was said first. Every run
is 20 updates an epoch with batches of 50.
"""

from __future__ import annotations

import argparse
import math
import warnings
from functools import partial
from typing import Callable, NamedTuple

import torch
from torch import Tensor

import torch_ebm
from torch_ebm import CD, MLP, PCD, RBM, BoltzmannMachine, NaiveMCMC, hmc, langevin, mala

N, BATCH = 1000, 50


def prototypes() -> Tensor:
    """Eight binary patterns of 64 units, a tenth of them flipped."""
    patterns = torch.bernoulli(torch.full((8, 64), 0.3))
    flips = torch.bernoulli(torch.full((N, 64), 0.1))
    return (patterns[torch.randint(8, (N,))] - flips).abs()


def plane(scale: float = 1.0) -> Tensor:
    """Four Gaussians on a circle."""
    angle = torch.randint(4, (N,)) * math.pi / 2
    return scale * (2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.3 * torch.randn(N, 2))


def interval() -> Tensor:
    return 0.25 + 0.5 * torch.rand(N, 16)


def rbm(x: Tensor) -> RBM:
    energy = RBM(64, 16)
    with torch.no_grad():
        energy.visible_bias.copy_(torch_ebm.base_rate_bias(x))
    return energy


def dead(x: Tensor) -> torch.nn.Module:
    energy = torch.nn.Sequential(
        torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1), torch.nn.Flatten(0)
    )
    torch.nn.init.constant_(energy[0].bias, -100)
    return energy


class Run(NamedTuple):
    name: str
    data: Callable[[], Tensor]
    energy: Callable[[Tensor], torch.nn.Module]
    phase: Callable[[], torch.nn.Module]
    optimizer: Callable


def sgd(rate: float, **options: float) -> Callable:
    return partial(torch.optim.SGD, lr=rate, **options)


def adam(rate: float) -> Callable:
    return partial(torch.optim.Adam, lr=rate)


def network(confinement: float, dim: int = 2) -> Callable:
    return lambda x: MLP([dim, 64, 64, 1], confinement=confinement)


def chains(dim: int, sampler: Callable, law: str = "normal") -> Callable:
    return lambda: PCD(100, (dim,), sampler, law=law)


def walk(**options: object) -> Callable:
    return partial(langevin, **options)


GIBBS = lambda: PCD(100, (64,))  # noqa: E731
BOX = {"bounds": (0.0, 1.0), "n_steps": 20}
HEALTHY = [
    Run("RBM, PCD", prototypes, rbm, GIBBS, sgd(0.05)),
    Run("RBM, PCD, biases 0", prototypes, lambda x: RBM(64, 16), GIBBS, sgd(0.05)),
    Run("RBM, CD", prototypes, rbm, CD, sgd(0.1)),
    Run("RBM, CD, biases 0", prototypes, lambda x: RBM(64, 16), CD, sgd(0.1)),
    Run("RBM, PCD, Adam", prototypes, rbm, GIBBS, adam(1e-3)),
    Run("Boltzmann machine, PCD", prototypes, lambda x: BoltzmannMachine(64), GIBBS, sgd(0.01)),
    Run(
        "network, PCD, Langevin",
        plane,
        network(0.5),
        chains(2, walk(step_size=0.02, n_steps=20)),
        adam(1e-3),
    ),
    Run(
        "network, CD, MALA",
        plane,
        network(0.1),
        lambda: CD(partial(mala, step_size=0.05, n_steps=10)),
        adam(1e-3),
    ),
    Run(
        "network, new chains, HMC",
        plane,
        network(0.5),
        lambda: NaiveMCMC(100, (2,), partial(hmc, step_size=0.2, n_steps=10), law="normal"),
        adam(1e-3),
    ),
    Run(
        "network, PCD, wide data",
        lambda: plane(1.5),
        network(0.1),
        chains(2, walk(step_size=0.05, n_steps=10)),
        adam(1e-3),
    ),
    Run(
        "network, PCD, bounds",
        interval,
        network(0, 16),
        chains(16, walk(step_size=0.002, **BOX), "uniform"),
        adam(1e-3),
    ),
]
FAILING = [
    Run(
        "network without confinement, Adam 0.01",
        plane,
        network(0),
        chains(2, walk(step_size=0.05)),
        adam(1e-2),
    ),
    Run(
        "network without confinement, Adam 0.05",
        plane,
        network(0),
        chains(2, walk(step_size=0.05, n_steps=5)),
        adam(5e-2),
    ),
    Run("RBM, learning rate 1000", prototypes, rbm, GIBBS, sgd(1000)),
    Run("RBM, learning rate 20", prototypes, rbm, GIBBS, sgd(20)),
    Run("RBM, rate 1, momentum 0.98", prototypes, rbm, GIBBS, sgd(1, momentum=0.98)),
    Run("Boltzmann machine, rate 5", prototypes, lambda x: BoltzmannMachine(64), GIBBS, sgd(5)),
    Run(
        "frozen: MALA, step 50",
        plane,
        network(0.5),
        chains(2, partial(mala, step_size=50.0)),
        adam(1e-3),
    ),
    Run(
        "at bounds: step 0.5",
        interval,
        network(0, 16),
        chains(16, walk(step_size=0.5, **BOX), "uniform"),
        adam(1e-2),
    ),
    Run("dead units", plane, dead, chains(2, walk(step_size=0.01)), adam(1e-3)),
    Run(
        "collapsed: no noise",
        plane,
        network(0.5),
        chains(2, walk(step_size=0.05, n_steps=50, noise_scale=0.0)),
        adam(1e-2),
    ),
]


def first_report(run: Run, seed: int, n_epochs: int) -> str:
    """What the monitor says of the first epoch that it reports; empty if of none."""
    torch.manual_seed(seed)
    x = run.data()
    energy, phase, monitor = run.energy(x), run.phase(), torch_ebm.TrainingMonitor()
    optimizer = run.optimizer(energy.parameters())
    for _ in range(n_epochs):
        for batch in x[torch.randperm(N)].split(BATCH):
            try:
                negative = phase(energy, batch)
                energies = energy(batch), energy(negative)
                monitor.update(*energies, batch, negative, phase.start)
            except (RuntimeError, ValueError) as error:  # not finite: training stops
                return str(error)
            optimizer.zero_grad()
            (energies[0].mean() - energies[1].mean()).backward()
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = monitor.end_epoch()
        if said:
            return said[0]
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    for title, runs in (("Healthy", HEALTHY), ("Failing", FAILING)):
        total = reported = 0
        for run in runs:
            if arguments.parts and not any(part in run.name for part in arguments.parts):
                continue
            said = [first_report(run, seed, arguments.epochs) for seed in range(arguments.seeds)]
            texts = [text for text in said if text]
            total, reported = total + len(said), reported + len(texts)
            first = texts[0].split(":")[0] if texts else ""
            print(f"{title:8} {run.name:40} {len(texts):3} of {len(said)}  {first}", flush=True)
        print(f"{title:8} {'all':40} {reported:3} of {total}", flush=True)


if __name__ == "__main__":
    main()
