"""A mode that contrastive divergence cannot see, and that persistent and tempered chains remove.

The negative samples of CD start at the data and take one step, so they never probe the model far
from the data (Goodfellow, Bengio & Courville 2016, section 18.2). Here a network is first fitted,
exactly, to three clusters. Then one cluster is removed from the data, so that the model has a
spurious mode, as after a change of the data or a bad initialisation. The same network is trained
further with CD-1, PCD and PCD with parallel tempering. The energy is over the plane, so log Z and
the mass of the spurious mode are known by quadrature at any time.

    bash examples/spurious_mode/run.sh
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

CLUSTERS = torch.tensor([[-2.5, 0.9], [-2.5, -0.9], [2.5, 0.0]])
SPREAD = 0.4
SIDE, EXTENT = 160, 6.0  # the grid of the quadrature

N_CHAINS = 500
N_UPDATES = 1500
BATCH = 200
LEARNING_RATE = 3e-4
BETAS = torch.tensor([1.0, 0.7, 0.45, 0.3, 0.2, 0.12], dtype=torch.float64)


class Network(torch.nn.Module):
    """2-64-64-1 with smooth units, and a wide quadratic bowl that makes Z finite."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [2, 64, 64, 1]
        layers = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
        self.layers = torch.nn.Sequential(
            layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0] + 0.05 * x.square().sum(1)


def draw(clusters: list[int], n: int, generator: torch.Generator) -> Tensor:
    which = torch.tensor(clusters)[torch.randint(len(clusters), (n,), generator=generator)]
    return CLUSTERS[which] + SPREAD * torch.randn(n, 2, generator=generator)


def grid() -> Tensor:
    axis = torch.linspace(-EXTENT, EXTENT, SIDE)
    return torch.cartesian_prod(axis, axis)


def log_density(energy: torch.nn.Module, points: Tensor) -> Tensor:
    """Normalised on the grid, by the trapezoid rule (the density vanishes at its border)."""
    cell = (2 * EXTENT / (SIDE - 1)) ** 2
    values = -energy(points).double()
    return values - torch.logsumexp(values, 0) - math.log(cell)


@torch.no_grad()
def judge(energy: torch.nn.Module, test: Tensor) -> tuple[float, float]:
    """The mass to the right of x = 0, where no data is, and the mean test log-likelihood."""
    points = grid()
    cell = (2 * EXTENT / (SIDE - 1)) ** 2
    density = log_density(energy, points)
    mass = (density.exp()[points[:, 0] > 0].sum() * cell).item()
    log_z = torch.logsumexp(-energy(points).double(), 0) + math.log(cell)
    return mass, (-energy(test).double().mean() - log_z).item()


def start_model(generator: torch.Generator) -> Network:
    """Fitted to all three clusters by exact maximum likelihood on the grid."""
    energy, points = Network(), grid()
    optimizer = torch.optim.Adam(energy.parameters(), lr=5e-3)
    for _ in range(400):
        data = draw([0, 1, 2, 2], BATCH, generator)
        log_z = torch.logsumexp(-energy(points), 0)
        optimizer.zero_grad()
        (energy(data).mean() + log_z).backward()
        optimizer.step()
    return energy


def methods() -> dict[str, Callable[[], torch.nn.Module]]:
    mala = functools.partial(torch_ebm.mala, step_size=0.03)
    few = functools.partial(mala, n_steps=5)
    return {
        "CD-1": lambda: torch_ebm.CD(mala, seed=1),
        "PCD": lambda: torch_ebm.PCD(N_CHAINS, (2,), few, law="normal", seed=1),
        "PCD with tempering": lambda: torch_ebm.TemperedPCD(
            N_CHAINS, (2,), BETAS, few, law="normal", seed=1
        ),
    }


def train(
    energy: Network, negative_phase: torch.nn.Module, test: Tensor, generator: torch.Generator
) -> list[tuple[int, float, float]]:
    """(update, mass where no data is, test log-likelihood) during training."""
    optimizer = torch.optim.Adam(energy.parameters(), lr=LEARNING_RATE)
    curve = [(0, *judge(energy, test))]
    for update in range(1, N_UPDATES + 1):
        data = draw([0, 1], BATCH, generator)
        negative = negative_phase(energy, data)
        optimizer.zero_grad()
        (energy(data).mean() + torch_ebm.log_partition(energy, negative)).backward()
        optimizer.step()
        if update % 50 == 0:
            curve.append((update, *judge(energy, test)))
    return curve


def plot(models: dict[str, Network], curves: dict[str, list], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(models) + 1, figsize=(3.6 * (len(models) + 1), 3.6))
    data = draw([0, 1], 300, torch.Generator().manual_seed(9))
    for axis, (name, energy) in zip(axes, models.items()):
        with torch.no_grad():
            density = log_density(energy, grid()).exp().view(SIDE, SIDE).T
        axis.imshow(density, origin="lower", extent=2 * [-EXTENT, EXTENT], cmap="viridis")
        axis.scatter(data[:, 0], data[:, 1], s=2, color="white", alpha=0.5)
        axis.set(title=name, xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[])
    for name, curve in curves.items():
        updates, masses, _ = zip(*curve)
        axes[-1].plot(updates, masses, label=name)
    axes[-1].set(title="mass where no data is", xlabel="updates", yscale="log", ylim=(1e-5, 1))
    axes[-1].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/spurious_mode"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the batches are too small for more
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    first = start_model(generator)
    test = draw([0, 1], 5000, torch.Generator().manual_seed(7))
    models, curves = {"start": first}, {}
    print(f"{'':20}{'mass where no data is':>24}{'test log-likelihood':>22}")
    mass, likelihood = judge(first, test)
    print(f"{'start':20}{mass:24.5f}{likelihood:22.3f}")
    for name, make in methods().items():
        energy = Network()
        energy.load_state_dict(first.state_dict())
        curves[name] = train(energy, make(), test, torch.Generator().manual_seed(3))
        models[name] = energy
        _, mass, likelihood = curves[name][-1]
        print(f"{name:20}{mass:24.5f}{likelihood:22.3f}", flush=True)
    plot(models, curves, out / "spurious_mode.png")
    print(f"wrote {out / 'spurious_mode.png'}")


if __name__ == "__main__":
    main()
