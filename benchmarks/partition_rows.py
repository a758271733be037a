"""The partition function: the multistate Bennett acceptance ratio, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from row import Contender, Row
from torch import Tensor

import torch_ebm


def harmonic_states(n_states: int, n_samples: int) -> tuple[Tensor, Tensor]:
    """Energies (K, N) of samples of K normal distributions, each one standard deviation apart."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.arange(n_states, dtype=torch.float64)[:, None]
    scale = torch.linspace(1, 2, n_states, dtype=torch.float64)[:, None]
    noise = torch.randn(n_states, n_samples, dtype=torch.float64, generator=generator)
    x = (mean + scale * noise).flatten()
    return ((x - mean) / scale).square() / 2, torch.full((n_states,), n_samples)


def mbar(n_states: int = 20, n_samples: int = 1000) -> Row:
    energies, counts = harmonic_states(n_states, n_samples)

    def ours() -> Callable[[], tuple[Tensor, Tensor]]:
        def call() -> tuple[Tensor, Tensor]:
            estimate = torch_ebm.mbar(energies, counts)
            return estimate.log_z, estimate.covariance.diagonal().sqrt()

        return call

    def pymbar() -> Callable[[], tuple[Tensor, Tensor]]:
        from pymbar import MBAR

        u, n = energies.numpy(), counts.numpy()

        def call() -> tuple[Tensor, Tensor]:
            differences = MBAR(u, n).compute_free_energy_differences()
            return tuple(
                torch.as_tensor(sign * differences[name][0].copy())
                for sign, name in ((-1, "Delta_f"), (1, "dDelta_f"))
            )

        return call

    def check(ours: Any, theirs: Any) -> None:
        for x, y in zip(ours, theirs):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)

    return Row(
        name="mbar" if n_states == 20 else f"mbar{n_states}",
        title=f"log Z of {n_states} states and their errors, {n_samples} samples of each",
        unit="call",
        units_per_call=1,
        contenders=[Contender("torch_ebm mbar", ours), Contender("pymbar MBAR", pymbar)],
        check=check,
        rounds=9,
    )


ROWS: dict[str, Callable[[], Row]] = {
    "mbar": mbar,
    "mbar50": lambda: mbar(50, 5000),
}
