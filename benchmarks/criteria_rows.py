"""Criteria, forward and backward. A row is named after the criterion."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from models import MLPEnergy, coin_flips, normal
from row import Contender, Row
from torch import Tensor

import torch_ebm

#: For a criterion of binary data: its function of the differences by all flips, (N, V), in torch.
TERMS: dict[str, Callable[[Tensor], Tensor]] = {
    "pseudolikelihood": lambda d: F.softplus(-d).sum(1),
    "ratio_matching": lambda d: torch.sigmoid(-d).square().sum(1),
}


def flip_differences(v: Tensor, w: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """F(v^i) - F(v) by broadcasting, through a tensor of (N, V, H)."""
    a = c + v @ w
    d = 1 - 2 * v
    moved = a[:, None] + d[:, :, None] * w
    return -d * b - (F.softplus(moved) - F.softplus(a)[:, None]).sum(2)


def of_rbm(criterion: str, n: int = 64, n_visible: int = 784, n_hidden: int = 500) -> Row:
    """The exact criterion of an RBM, and its gradient in all parameters."""
    parameters = (
        normal(n_visible, n_hidden, seed=1) / math.sqrt(n_visible),
        normal(n_visible, seed=2),
        normal(n_hidden, seed=3),
    )
    data = coin_flips(n, n_visible, seed=4)

    def ours() -> Callable[[], list[Any]]:
        rbm = torch_ebm.RBM(n_visible, n_hidden)
        for parameter, value in zip(rbm.parameters(), parameters):
            parameter.data.copy_(value)
        function = getattr(torch_ebm, criterion)

        def call() -> list[Any]:
            loss = function(rbm, data)
            return [loss, *torch.autograd.grad(loss, list(rbm.parameters()))]

        return call

    def broadcast() -> Callable[[], list[Any]]:
        leaves = [p.clone().requires_grad_() for p in parameters]

        def call() -> list[Any]:
            loss = TERMS[criterion](flip_differences(data, *leaves)).mean()
            return [loss, *torch.autograd.grad(loss, leaves)]

        return call

    def jitted() -> Callable[[], list[Any]]:
        import jax
        import jax.numpy as jnp

        def loss(w: Any, b: Any, c: Any, v: Any) -> Any:
            a = c + v @ w
            d = 1 - 2 * v
            moved = jax.nn.softplus(a[:, None] + d[:, :, None] * w)
            differences = -d * b - (moved - jax.nn.softplus(a)[:, None]).sum(2)
            if criterion == "pseudolikelihood":
                return jax.nn.softplus(-differences).sum(1).mean()
            return (jax.nn.sigmoid(-differences) ** 2).sum(1).mean()

        step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
        arguments = [jnp.asarray(np.asarray(t)) for t in (*parameters, data)]

        def call() -> list[Any]:
            value, gradients = jax.block_until_ready(step(*arguments))
            return [value, *gradients]

        return call

    def check(ours: list[Any], theirs: list[Any]) -> None:
        for one, other in zip(ours, theirs):
            one, other = (
                torch.as_tensor(np.array(t.detach() if isinstance(t, Tensor) else t))
                for t in (one, other)
            )
            scale = other.abs().max()
            assert (one - other).abs().max() <= 1e-3 * scale, "another value or gradient"

    torch_name = "plain torch, broadcast"
    return Row(
        name=criterion,
        title=f"exact {criterion} of an RBM {n_visible}x{n_hidden}, {n} examples, with its gradient",
        unit="call",
        units_per_call=1,
        contenders=[
            Contender(f"torch_ebm.{criterion}", ours),
            Contender(torch_name, broadcast),
            Contender("JAX, broadcast, jitted", jitted),
        ],
        check=check,
        targets={torch_name: 8.0},
    )


def sliced_score_matching(n: int = 512, sizes: tuple[int, ...] = (128, 256, 256)) -> Row:
    energy = MLPEnergy(*sizes)
    parameters = list(energy.parameters())
    x = normal(n, sizes[0], seed=0)
    v = normal(n, sizes[0], seed=1).sign()
    estimates = 50

    def with_gradients(value: Tensor) -> Tensor:
        """The value; its gradients, which are the work, are discarded."""
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
        """Both estimate the same number; the tolerance is the spread of calls of plain torch."""
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


ROWS: dict[str, Callable[[], Row]] = {
    **{name: partial(of_rbm, name) for name in TERMS},
    "sliced_score_matching": sliced_score_matching,
}
