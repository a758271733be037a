"""An energy in the plane, learned by three kinds of score matching, with plots.

The data are a spiral of known density, so that the learned density can be judged: Z is a sum over a
grid. No criterion here uses Z, or samples of the model.

    bash examples/score_matching/run.sh
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import torch_ebm

SPREAD = 0.15
N_KNOTS = 200
SIGMA = 0.1  # of the noise of denoising score matching: small against the spread
N_UPDATES = 2500
BATCH = 500
LEARNING_RATE = 2e-3
SIDE, EXTENT = 300, 3.5  # the grid of the quadrature
N_SAMPLES = 2000

Loss = Callable[[torch.nn.Module, Tensor], Tensor]
CRITERIA: dict[str, Loss] = {
    "score matching": torch_ebm.score_matching,
    "sliced score matching": torch_ebm.sliced_score_matching,
    "denoising score matching": functools.partial(torch_ebm.denoising_score_matching, sigma=SIGMA),
}


def knots() -> Tensor:
    """Points along a spiral: the centres of the mixture that the data are drawn from."""
    angle = 3 * math.pi * torch.linspace(0.05, 1, N_KNOTS).sqrt()
    return (2.6 * angle / angle.max())[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def draw(n: int) -> Tensor:
    return knots()[torch.randint(N_KNOTS, (n,))] + SPREAD * torch.randn(n, 2)


def true_log_density(x: Tensor) -> Tensor:
    squares = torch.cdist(x, knots()).square()
    return torch.logsumexp(-0.5 * squares / SPREAD**2, 1) - math.log(
        N_KNOTS * 2 * math.pi * SPREAD**2
    )


def grid(side: int = SIDE) -> Tensor:
    axis = torch.linspace(-EXTENT, EXTENT, side)
    return torch.cartesian_prod(axis, axis)


@torch.no_grad()
def log_density(energy: torch.nn.Module) -> Tensor:
    """Normalised, on the grid: the density vanishes at its border."""
    values = -energy(grid()).double()
    cell = (2 * EXTENT / (SIDE - 1)) ** 2
    return values - torch.logsumexp(values, 0) - math.log(cell)


def divergence(energy: torch.nn.Module) -> float:
    """KL(true density, learned density), in nats, by the sum over the grid."""
    true = true_log_density(grid()).double()
    cell = (2 * EXTENT / (SIDE - 1)) ** 2
    return ((true - log_density(energy)) * true.exp()).sum().item() * cell


def train(loss: Loss) -> torch_ebm.MLP:
    energy = torch_ebm.MLP([2, 128, 128, 1], confinement=0.1)
    optimizer = torch.optim.Adam(energy.parameters(), lr=LEARNING_RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, N_UPDATES)
    for _ in range(N_UPDATES):
        optimizer.zero_grad()
        loss(energy, draw(BATCH)).backward()
        optimizer.step()
        falling.step()
    return energy


def sample(energy: torch_ebm.MLP) -> Tensor:
    """Langevin sampling, from a wide uniform start."""
    start = 2 * EXTENT * (torch.rand(N_SAMPLES, 2) - 0.5)
    hot = torch_ebm.langevin(energy, start, step_size=0.02, n_steps=500, beta=0.3).x
    return torch_ebm.mala(energy, hot, step_size=0.01, n_steps=2000).x


def plot(energies: dict[str, torch_ebm.MLP], samples: dict[str, Tensor], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(energies), 4, figsize=(14, 3.6 * len(energies)), squeeze=False)
    extent = 2 * [-EXTENT, EXTENT]
    arrows = grid(25)
    data = draw(N_SAMPLES)
    for row, (name, energy) in zip(axes, energies.items()):
        with torch.no_grad():
            _, score = energy.value_and_score(arrows)
        row[0].scatter(*data.T, s=1)
        density = log_density(energy).exp().view(SIDE, SIDE).T
        row[1].imshow(density, origin="lower", extent=extent)
        shown = score / (1 + score.norm(dim=1, keepdim=True))
        row[2].quiver(*arrows.T, *shown.T, scale=25)
        row[3].scatter(*samples[name].T, s=1)
        for axis, title in zip(row, ("data", f"density: {name}", "score", "samples")):
            axis.set(title=title, xlim=extent[:2], ylim=extent[:2], xticks=[], yticks=[], aspect=1)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/score_matching"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the batches are too small for more
    energies, samples = {}, {}
    print(f"{'':28}{'KL(data, model)':>18}{'samples on the spiral':>24}")
    for name, loss in CRITERIA.items():
        torch.manual_seed(0)
        energies[name] = train(loss)
        samples[name] = sample(energies[name])
        # Of true samples, 99.9% lie within 3.7 spreads of a knot.
        near = (torch.cdist(samples[name], knots()).amin(1) < 3.7 * SPREAD).float().mean().item()
        print(f"{name:28}{divergence(energies[name]):18.3f}{near:24.3f}", flush=True)
    plot(energies, samples, out / "plane.png")
    print(f"wrote {out / 'plane.png'}")


if __name__ == "__main__":
    main()
