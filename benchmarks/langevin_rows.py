"""The workloads of the Langevin sampler, in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from models import MLPEnergy, normal, score, without_parameter_gradients
from row import Contender, Row
from rows import as_tensor, check_means
from torch import Tensor, nn

import torch_ebm

# --- One Langevin update --------------------------------------------------------------------------


def langevin_update(
    n_chains: int = 10_000, dimension: int = 100, step_size: float = 0.01, n_updates: int = 10
) -> Row:
    x, slope = (normal(n_chains, dimension, seed=seed) for seed in (1, 2))
    noise_scale = math.sqrt(2 * step_size)

    def expression(x: Tensor) -> Tensor:
        return x + step_size * slope + noise_scale * torch.randn_like(x)

    def in_place(x: Tensor) -> Tensor:
        moved = torch.add(x, slope, alpha=step_size)
        return moved.add_(torch.randn_like(x), alpha=noise_scale)

    def ours(x: Tensor) -> Tensor:
        return torch_ebm.langevin_update(x, slope, step_size)

    def repeated(update: Callable[[Tensor], Tensor]) -> Callable[[], Callable[[], Tensor]]:
        """As in a loop: one update after the other, each freeing the memory of the last."""

        def call() -> Tensor:
            for _ in range(n_updates - 1):
                update(x)
            return update(x)

        return lambda: call

    def noise_features(moved: Any) -> Tensor:
        noise = (as_tensor(moved) - x - step_size * slope) / noise_scale
        neighbours = noise.roll(1, 0) * noise, noise.roll(1, 1) * noise
        powers = torch.stack([noise, noise**2, noise**4, *neighbours], dim=-1)
        return powers.mean(1)

    return Row(
        name="langevin_update",
        title=f"one Langevin update of {n_chains * dimension:,} floats, given the score",
        unit="update",
        units_per_call=n_updates,
        contenders=[
            Contender("torch_ebm.langevin_update", repeated(ours)),
            Contender("plain torch, expression", repeated(expression)),
            Contender("plain torch, add + add_", repeated(in_place)),
            Contender("JAX, jit", lambda: jax_updates(x, slope, step_size, None, n_updates)),
            Contender(
                "JAX, the same, rbg keys",
                lambda: jax_updates(x, slope, step_size, "rbg", n_updates),
            ),
        ],
        check=lambda ours, theirs: check_means(noise_features(ours), noise_features(theirs)),
        rounds=41,
        targets={"plain torch, expression": 5.0, "plain torch, add + add_": 5.0, "JAX, jit": 5.0},
    )


def jax_updates(
    x: Tensor, slope: Tensor, step_size: float, keys: Any, n_updates: int
) -> Callable[[], Any]:
    import jax
    from jax import numpy as jnp

    @jax.jit
    def update(key: Any, x: Any, slope: Any) -> Any:
        key, for_noise = jax.random.split(key)
        noise = jax.random.normal(for_noise, x.shape)
        return key, x + step_size * slope + math.sqrt(2 * step_size) * noise

    key, start, slopes = jax.random.key(0, impl=keys), jnp.asarray(x), jnp.asarray(slope)

    def call() -> Any:
        for _ in range(n_updates):
            moved = update(key, start, slopes)[1].block_until_ready()
        return moved

    return call


# --- Langevin sampling of a small network ---------------------------------------------------------


def langevin_mlp(n_chains: int = 10_000, n_steps: int = 100, step_size: float = 0.01) -> Row:
    energy = MLPEnergy(2, 64, 64)
    built_in = torch_ebm.MLP([2, 64, 64, 1])
    built_in.load_state_dict(energy.state_dict())
    start = normal(n_chains, 2, seed=0)

    def ours(module: nn.Module) -> Callable[[], Callable[[], Tensor]]:
        return lambda: (
            lambda: torch_ebm.langevin(module, start, n_steps=n_steps, step_size=step_size).x
        )

    def plain_torch() -> Callable[[], Tensor]:
        frozen, noise_scale = without_parameter_gradients(energy), math.sqrt(2 * step_size)

        def call() -> Tensor:
            x = start
            for _ in range(n_steps):
                moved = torch.add(x, score(frozen, x)[1], alpha=step_size)
                x = moved.add_(torch.randn_like(x), alpha=noise_scale)
            return x

        return call

    def features(x: Any) -> Tensor:
        x = as_tensor(x)
        return torch.cat([x, x**2, x.prod(1, keepdim=True), energy(x).detach()[:, None]], dim=1)

    return Row(
        name="langevin_mlp",
        title=f"Langevin, MLP energy 2-64-64-1 (SiLU), {n_chains:,} chains, {n_steps} steps a call",
        unit="step",
        units_per_call=n_steps,
        contenders=[
            Contender("torch_ebm.langevin, torch_ebm.MLP", ours(built_in)),
            Contender("torch_ebm.langevin, scripted module", ours(torch.jit.script(energy))),
            Contender("torch_ebm.langevin, nn.Module", ours(energy)),
            Contender("plain torch", plain_torch),
            Contender("torchebm", lambda: torchebm_langevin(energy, start, n_steps, step_size)),
            Contender("ebmkit", lambda: ebmkit_langevin(energy, start, n_steps, step_size)),
            Contender(
                "JAX, jit + scan + vmap", lambda: jax_langevin(energy, start, n_steps, step_size)
            ),
        ],
        check=lambda ours, theirs: check_means(features(ours), features(theirs)),
        targets={"torchebm": 1.5, "ebmkit": 1.5, "JAX, jit + scan + vmap": 1.0},
    )


def torchebm_langevin(
    energy: nn.Module, start: Tensor, n_steps: int, step_size: float
) -> Callable[[], Tensor]:
    from torchebm.core import BaseModel
    from torchebm.samplers import LangevinDynamics

    class Model(BaseModel):  # it samples from nothing else
        def __init__(self) -> None:
            super().__init__()
            self.energy = energy

        def forward(self, x: Tensor) -> Tensor:
            return self.energy(x)

    sampler = LangevinDynamics(Model(), step_size=step_size)
    return lambda: sampler.sample(x=start, n_steps=n_steps)


def ebmkit_langevin(
    energy: nn.Module, start: Tensor, n_steps: int, step_size: float
) -> Callable[[], Tensor]:
    from ebm.samplers import LangevinDynamics

    sampler = LangevinDynamics(step_size=step_size, steps=n_steps)
    return lambda: sampler.sample(energy, start)


def jax_langevin(
    energy: MLPEnergy, start: Tensor, n_steps: int, step_size: float
) -> Callable[[], Any]:
    import jax
    from jax import numpy as jnp

    layers = [
        (jnp.asarray(linear.weight.detach()), jnp.asarray(linear.bias.detach()))
        for linear in energy.layers[::2]
    ]

    def energy_of_one(x: Any, layers: Any) -> Any:
        *hidden, (weight, bias) = layers
        for w, b in hidden:
            x = jax.nn.silu(w @ x + b)
        return (weight @ x + bias)[0]

    gradient = jax.vmap(jax.grad(energy_of_one), in_axes=(0, None))

    @jax.jit
    def chain(key: Any, x: Any, layers: Any) -> Any:
        def step(x: Any, key: Any) -> Any:
            noise = jax.random.normal(key, x.shape)
            return x - step_size * gradient(x, layers) + math.sqrt(2 * step_size) * noise, None

        return jax.lax.scan(step, x, jax.random.split(key, n_steps))[0]

    key, x = jax.random.key(0), jnp.asarray(start)
    return lambda: chain(key, x, layers).block_until_ready()


ROWS: dict[str, Callable[[], Row]] = {
    "langevin_update": langevin_update,
    "langevin_mlp": langevin_mlp,
}
