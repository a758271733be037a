"""The workloads of the criteria, in float32: a value and its gradients in the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from energies import MLPEnergy, normal
from harness import Contender, Row
from torch import Tensor

import torch_ebm


def sliced_score_matching(n: int = 512, sizes: tuple[int, ...] = (128, 256, 256)) -> Row:
    energy = MLPEnergy(*sizes)
    parameters = list(energy.parameters())
    x = normal(n, sizes[0], seed=0)
    v = normal(n, sizes[0], seed=1).sign()
    estimates = 50

    def with_gradients(value: Tensor) -> Tensor:
        """The value; its gradients, which are the work, are dropped."""
        torch.autograd.grad(value, parameters, allow_unused=True)
        return value.detach()

    def ours(**options: Any) -> Callable[[], Callable[[], Tensor]]:
        def call() -> Tensor:
            return with_gradients(torch_ebm.sliced_score_matching(energy, x, **options))

        return lambda: call

    def two_passes(draw: Callable[[], Tensor]) -> Callable[[], Callable[[], Tensor]]:
        def call() -> Tensor:
            leaf, u = x.clone().requires_grad_(), draw()
            s = -torch.autograd.grad(energy(leaf).sum(), leaf, create_graph=True)[0]
            curvature = torch.autograd.grad(s, leaf, u, create_graph=True)[0]
            return with_gradients(((curvature * u).sum(1) + s.square().sum(1) / 2).mean())

        return lambda: call

    def check(ours: Tensor, theirs: Tensor) -> None:
        """Both estimate the same number: what one call of plain torch varies by is the yardstick."""
        call = two_passes(lambda: torch.randn_like(x).sign())()
        spread = torch.stack([call() for _ in range(estimates)]).std()
        assert (ours - theirs).abs() < 6 * 2**0.5 * spread, f"{ours} is not {theirs}"

    return Row(
        name="sliced_score_matching",
        title=f"sliced score matching, MLP {'-'.join(map(str, sizes))}-1 (SiLU), batch {n}",
        unit="call",
        units_per_call=1,
        contenders=[
            Contender("torch_ebm.sliced_score_matching", ours()),
            Contender("the same, finite differences", ours(method="finite_difference")),
            Contender("plain torch: the two passes, projections given", two_passes(lambda: v)),
            Contender(
                "plain torch: the two passes, projections drawn",
                two_passes(lambda: torch.randn_like(x).sign()),
            ),
        ],
        check=check,
        rounds=25,
        targets={"plain torch: the two passes, projections given": 1 / 1.3},
    )


ROWS: dict[str, Callable[[], Row]] = {"sliced_score_matching": sliced_score_matching}
