"""log Z between two bounds: where they meet, and where one bound alone misleads.

    bash examples/sandwich/run.sh [--quick] [--out runs/sandwich]

1. An RBM with exact log Z: the bounds close in on it as temperatures are added.
2. The same RBM, a few temperatures, many short runs: their mean is unbiased for Z, not for log Z.
3. A distribution with two modes, of which annealing finds one. AIS is wrong, yet its interval is
   short and its ESS high. Annealing down from exact samples contradicts it; from long chains it
   does not.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch_ebm
from torch import Tensor
from torch.distributions import Independent, Normal

DOUBLE = torch.float64


class Effort(NamedTuple):
    """The amount of computation."""

    budgets: tuple[int, ...]
    n_chains: int
    n_short_runs: int
    n_temperatures: int


FULL = Effort((10, 30, 100, 300, 1000, 3000, 10_000), 100, 20_000, 1000)
QUICK = Effort((10, 100), 20, 500, 50)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rbm() -> torch_ebm.RBM:
    rbm = torch_ebm.RBM(50, 15, dtype=DOUBLE)
    with torch.no_grad():
        for parameter, scale in zip(rbm.parameters(), (0.7, 0.5, 0.5)):
            parameter.copy_(
                scale * torch.randn(*parameter.shape, dtype=DOUBLE, generator=generator(1))
            )
    return rbm


class TwoModes:
    """Two modes, of ten units: a wide one with a tenth of the mass, a narrow one with the rest."""

    n_units, distance, sds = 10, 4.0, (1.0, 0.2)
    masses = (0.1, 0.9)

    def __call__(self, x: Tensor) -> Tensor:
        return -torch.logsumexp(
            torch.stack(
                [
                    math.log(mass)
                    - (x - centre).square().sum(1) / (2 * sd**2)
                    - self.n_units * math.log(sd * math.sqrt(2 * math.pi))
                    for mass, centre, sd in zip(self.masses, self.centres, self.sds)
                ]
            ),
            0,
        )

    @property
    def centres(self) -> tuple[float, float]:
        side = self.distance / math.sqrt(self.n_units)
        return -side, side

    def sample(self, n: int) -> Tensor:
        mode = (torch.rand(n, generator=generator(2)) > self.masses[0]).long()
        sd, centre = torch.tensor(self.sds)[mode], torch.tensor(self.centres)[mode]
        normal = torch.randn(n, self.n_units, dtype=DOUBLE, generator=generator(3))
        return centre.unsqueeze(1) + sd.unsqueeze(1) * normal


def bounds(rbm: torch_ebm.RBM, effort: Effort) -> list[torch_ebm.Sandwich]:
    exact = rbm.log_z().item()
    sandwiches = []
    print(f"1. RBM of 50 and 15 units: log Z = {exact:.4f}")
    print("   temperatures      AIS, too low    reverse AIS, too high          from both")
    for budget in effort.budgets:
        found = torch_ebm.sandwich(
            rbm,
            n_chains=effort.n_chains,
            betas=budget,
            base_visible_bias=rbm.visible_bias,  # exact where there are no weights
            generator=generator(budget),
        )
        sandwiches.append(found)
        errors = [
            f"{estimate.log_z - exact:+9.3f} +-{(estimate.upper - estimate.lower) / 2:7.3f}"
            for estimate in (found.forward, found.reverse, found.bridge)
        ]
        print(f"   {budget:12,d} {errors[0]:>20} {errors[1]:>20} {errors[2]:>20}", flush=True)
    return sandwiches


def short_runs(rbm: torch_ebm.RBM, effort: Effort) -> None:
    n, size = effort.n_short_runs, 10
    estimate = torch_ebm.ais(
        rbm,
        n_chains=n * size,
        betas=10,
        base_visible_bias=rbm.visible_bias,
        generator=generator(4),
    )
    log_z_base = estimate.log_z - (estimate.log_weights.logsumexp(0) - math.log(n * size))
    runs = estimate.log_weights.view(n, size).logsumexp(1) - math.log(size) + log_z_base
    errors = (runs - rbm.log_z()).detach()
    ratio = errors.exp()

    def mean(x: Tensor) -> str:
        return f"{x.mean():.4f} +- {1.96 * x.std() / math.sqrt(n):.4f}"

    print(f"\n2. {n:,} runs of 10 chains and 10 temperatures each")
    print(f"   mean of Z / exact Z:         {mean(ratio)}")
    print(f"   mean of log Z - exact log Z: {mean(errors)}")


def two_modes(effort: Effort) -> None:
    energy = TwoModes()
    base = Independent(Normal(torch.zeros(energy.n_units, dtype=DOUBLE), 2.0), 1)
    x = energy.sample(effort.n_chains)
    options = {
        "n_chains": effort.n_chains,
        "betas": effort.n_temperatures,
        "n_burn_in": effort.n_temperatures,
    }
    print("\n3. Two modes; annealing finds only that with a tenth of the mass: log Z = 0")
    print("   From exact samples:")
    print(indented(torch_ebm.sandwich(energy, base, x=x, generator=generator(5), **options)))
    print("   From long chains that start from the last states of AIS:")
    print(indented(torch_ebm.sandwich(energy, base, generator=generator(5), **options)))


def indented(text: object) -> str:
    return "\n".join(f"     {line}" for line in str(text).split("\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small version, in seconds")
    parser.add_argument("--out", type=Path, default=Path("runs/sandwich"))
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    rbm = random_rbm()
    sandwiches = bounds(rbm, effort)
    torch_ebm.log_z_report(arguments.out, effort.budgets, sandwiches, exact=rbm.log_z())
    short_runs(rbm, effort)
    two_modes(effort)
    print(f"\nReport and figures: {arguments.out}")


if __name__ == "__main__":
    main()
