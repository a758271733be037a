"""The energies that sampler benchmarks share, and their gradient in plain torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coin_flips(*shape: int, seed: int) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


class MLPEnergy(nn.Module):
    """(N, sizes[0]) -> (N,) through SiLU layers, with random weights fixed by a seed."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for seed, (n_in, n_out) in enumerate(zip((*sizes,), (*sizes[1:], 1))):
            linear = nn.Linear(n_in, n_out)
            with torch.no_grad():
                linear.weight.copy_(normal(n_out, n_in, seed=seed) / math.sqrt(n_in))
                linear.bias.zero_()
            layers += [linear, nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1)


class BoltzmannEnergy(nn.Module):
    """E(x) = -x'Wx / 2 - b'x of binary units x, W symmetric with a zero diagonal."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        half = normal(n_units, n_units, seed=0).triu(1) * 2 / math.sqrt(n_units)
        self.weight = nn.Parameter(half + half.t())
        self.bias = nn.Parameter(normal(n_units, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        return -((0.5 * x @ self.weight + self.bias) * x).sum(1)


class IsingEnergy(nn.Module):
    """E(x) = -J sum s_i s_j over the neighbours of a periodic square lattice, s = 2x - 1 of binary x (N, L, L)."""

    def __init__(self, coupling: float = 0.2) -> None:
        super().__init__()
        self.coupling = nn.Parameter(torch.tensor(coupling))

    def forward(self, x: Tensor) -> Tensor:
        spin = 2 * x - 1
        neighbours = spin.roll(1, 1) + spin.roll(1, 2)
        return -self.coupling * (spin * neighbours).sum((1, 2))


def without_parameter_gradients(energy: nn.Module) -> nn.Module:
    """The module as a careful user would sample from it: autograd keeps nothing for the weights."""
    return copy.deepcopy(energy).requires_grad_(False)


def score(energy: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Energies and -dE/dx in plain torch."""
    x = x.detach().requires_grad_()
    value = energy(x)
    return value.detach(), -torch.autograd.grad(value.sum(), x)[0]
