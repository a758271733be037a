"""The workloads: in every row, all contenders do the same work, in float32."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from row import Contender, Row
from torch import Tensor

import torch_ebm

#: How many standard errors a rival's statistic may differ from ours. The largest of a thousand
#: normal numbers exceeds 6 once in a million runs.
TOLERANCE = 6.0


@dataclass(frozen=True)
class Model:
    """Random parameters of an RBM whose units are neither free nor frozen."""

    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor

    @staticmethod
    def random(n_visible: int, n_hidden: int, scale: float) -> Model:
        generator = torch.Generator().manual_seed(1)
        normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
        return Model(scale * normal(n_visible, n_hidden), normal(n_visible), normal(n_hidden))

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weight, self.visible_bias, self.hidden_bias

    def start(self, n_chains: int) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        return (torch.rand(n_chains, len(self.weight), generator=generator) < 0.5).float()


def as_tensor(array: Any) -> Tensor:
    """The result of any contender as a tensor."""
    return array if isinstance(array, Tensor) else torch.tensor(np.array(array))


# --- Block Gibbs sampling ---------------------------------------------------------------------------


def gibbs(n_chains: int = 500, n_visible: int = 784, n_hidden: int = 500, n_steps: int = 10) -> Row:
    model = Model.random(n_visible, n_hidden, scale=0.5 / math.sqrt(n_visible))
    start = model.start(n_chains)
    weight, b, c = model.parameters

    def ours() -> Callable[[], Tensor]:
        return lambda: torch_ebm.rbm_gibbs(start, *model.parameters, n_steps=n_steps)[0]

    def gemms() -> Callable[[], None]:
        h = torch.bernoulli(torch.full((n_chains, n_hidden), 0.5))
        h_input, v_input = torch.empty_like(h), torch.empty_like(start)

        def call() -> None:
            for _ in range(n_steps):
                torch.mm(start, weight, out=h_input)
                torch.mm(h, weight.t(), out=v_input)

        return call

    def plain_torch(draw: Callable[[Tensor], Tensor]) -> Callable[[], Callable[[], Tensor]]:
        @torch.no_grad()
        def call() -> Tensor:
            v = start
            for _ in range(n_steps):
                h = draw(torch.addmm(c, v, weight).sigmoid_())
                v = draw(torch.addmm(b, h, weight.t()).sigmoid_())
            return v

        return lambda: call

    return Row(
        name="gibbs",
        title=f"block Gibbs, RBM {n_visible}x{n_hidden}, {n_chains} chains, {n_steps} steps a call",
        unit="step",
        units_per_call=n_steps,
        contenders=[
            Contender("torch_ebm.rbm_gibbs", ours),
            Contender("limit: its two GEMMs alone", gemms, is_limit=True),
            Contender("plain torch, sigmoid + bernoulli", plain_torch(torch.bernoulli)),
            Contender(
                "plain torch, sigmoid + rand + compare",
                plain_torch(lambda p: (torch.rand_like(p) < p).to(p.dtype)),
            ),
            Contender("JAX, jit + fori_loop", lambda: jax_gibbs(model, start, n_steps, None)),
            Contender("JAX, the same, rbg keys", lambda: jax_gibbs(model, start, n_steps, "rbg")),
            Contender("scikit-learn BernoulliRBM", lambda: sklearn_gibbs(model, start, n_steps)),
            Contender("rbms", lambda: rbms_gibbs(model, start, n_steps)),
        ],
        check=lambda ours, theirs: check_samples(model, ours, theirs),
        targets={
            "limit: its two GEMMs alone": 0.75,
            "plain torch, sigmoid + bernoulli": 2.2,
            "JAX, jit + fori_loop": 1.0,
        },
    )


def jax_gibbs(model: Model, start: Tensor, n_steps: int, keys: Any) -> Callable[[], Any]:
    import jax
    from jax import numpy as jnp

    weight, b, c = (jnp.asarray(p.numpy()) for p in model.parameters)
    v0 = jnp.asarray(start.numpy())

    def draw(key: Any, logit: Any) -> Any:
        return jax.random.bernoulli(key, jax.nn.sigmoid(logit)).astype(logit.dtype)

    def step(_: int, state: Any) -> Any:
        v, key = state
        key, for_h, for_v = jax.random.split(key, 3)
        h = draw(for_h, v @ weight + c)
        return draw(for_v, h @ weight.T + b), key

    chain = jax.jit(lambda v, key: jax.lax.fori_loop(0, n_steps, step, (v, key)))
    key = jax.random.key(0, impl=keys)
    return lambda: chain(v0, key)[0].block_until_ready()


def sklearn_gibbs(model: Model, start: Tensor, n_steps: int) -> Callable[[], Any]:
    from sklearn.neural_network import BernoulliRBM

    weight, b, c = (p.numpy() for p in model.parameters)
    rbm = BernoulliRBM(n_components=len(c))
    rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_ = weight.T.copy(), b, c
    rbm.random_state_ = np.random.RandomState(0)
    rbm.n_features_in_ = len(b)

    def call() -> Any:
        v = start.numpy()
        for _ in range(n_steps):
            v = rbm.gibbs(v).astype(
                np.float32
            )  # it returns booleans, which would make its GEMM slow
        return v

    return call


def rbms_model(model: Model) -> Any:
    from rbms.bernoulli_bernoulli.classes import BBRBM

    return BBRBM(model.weight, model.visible_bias, model.hidden_bias)


def rbms_gibbs(model: Model, start: Tensor, n_steps: int) -> Callable[[], Any]:
    rbm = rbms_model(model)

    def call() -> Any:
        chains = rbm.init_chains(len(start), start_v=start)
        return rbm.sample_state(n_steps=n_steps, chains=chains)["visible"]

    return call


def check_samples(model: Model, ours: Any, theirs: Any) -> None:
    """Raises unless marginal means and the mean free energy agree within Monte Carlo error."""
    x, y = as_tensor(ours).float(), as_tensor(theirs).float()
    assert x.shape == y.shape and bool(((y == 0) | (y == 1)).all())
    x, y = (
        torch.cat([s, torch.ops.torch_ebm.rbm_free_energy(s, *model.parameters)[:, None]], dim=1)
        for s in (x, y)
    )
    check_means(x, y)


def check_means(x: Tensor, y: Tensor) -> None:
    """Raises unless two samples, one row per chain, have the same mean within Monte Carlo error."""
    # A state may occur only once in either sample: its error is then still not zero.
    variance = (x.var(0) + y.var(0)).clamp(min=2 / len(x)) / len(x)
    z = ((x.mean(0) - y.mean(0)) / variance.sqrt()).abs().max().item()
    assert z < TOLERANCE, f"samples differ by {z:.1f} standard errors"


# --- Annealed importance sampling -------------------------------------------------------------------


def ais(
    n_chains: int = 100, n_visible: int = 784, n_hidden: int = 20, n_temperatures: int = 1000
) -> Row:
    model = Model.random(n_visible, n_hidden, scale=0.05)
    weight, b, c = model.parameters
    base = torch.zeros(n_visible)
    betas = torch.linspace(0, 1, n_temperatures + 1, dtype=torch.float64)
    log_z_base = (n_visible + n_hidden) * math.log(2)

    def log_z(log_weights: Any) -> Tensor:
        weights = as_tensor(log_weights).double()
        return torch.logsumexp(weights, 0) - math.log(len(weights)) + log_z_base

    def ours() -> Callable[[], Tensor]:
        return lambda: log_z(
            torch.ops.torch_ebm.rbm_ais(weight, b, c, base, betas, n_chains=n_chains)[0]
        )

    def gemms() -> Callable[[], None]:
        v, h = torch.ones(n_chains, n_visible), torch.ones(n_chains, n_hidden)
        h_input, v_input = torch.empty_like(h), torch.empty_like(v)

        def call() -> None:
            for _ in range(n_temperatures):
                torch.mm(v, weight, out=h_input)
                torch.mm(h, weight.t(), out=v_input)

        return call

    @torch.no_grad()
    def plain_torch() -> Tensor:
        v = torch.bernoulli(torch.sigmoid(base).expand(n_chains, -1))
        log_weights = torch.zeros(n_chains, dtype=torch.float64)
        for previous, beta in itertools.pairwise(betas.tolist()):
            a = torch.addmm(c, v, weight)
            log_weights += (beta - previous) * (v @ (b - base))
            log_weights += (F.softplus(beta * a) - F.softplus(previous * a)).sum(1)
            h = torch.bernoulli(torch.sigmoid(beta * a))
            bias = beta * b + (1 - beta) * base
            v = torch.bernoulli(torch.sigmoid(torch.addmm(bias, h, weight.t(), alpha=beta)))
        return log_z(log_weights)

    truth = torch.ops.torch_ebm.rbm_log_z(*model.parameters).item()

    def check(ours: Any, theirs: Any) -> None:
        # Far wider than the error of a good estimate, far narrower than that of a wrong one.
        for value in (float(ours), float(theirs)):
            assert abs(value - truth) < 0.5, f"log Z = {value}, but it is {truth}"

    return Row(
        name="ais",
        title=f"AIS, RBM {n_visible}x{n_hidden}, {n_chains} chains, {n_temperatures} temperatures",
        unit="temperature",
        units_per_call=n_temperatures,
        contenders=[
            Contender("torch_ebm rbm_ais", ours),
            Contender("limit: its GEMMs alone", gemms, is_limit=True),
            Contender("plain torch", lambda: plain_torch),
            Contender("JAX, jit + scan", lambda: jax_ais(model, betas, n_chains, log_z, None)),
            Contender(
                "JAX, the same, rbg keys", lambda: jax_ais(model, betas, n_chains, log_z, "rbg")
            ),
            Contender("rbms", lambda: rbms_ais(model, n_temperatures + 1, n_chains)),
        ],
        check=check,
        rounds=9,
        targets={"plain torch": 6.0, "rbms": 8.0},
    )


def jax_ais(
    model: Model, betas: Tensor, n_chains: int, log_z: Callable[[Any], Tensor], keys: Any
) -> Callable[[], Tensor]:
    """From a uniform base, as in ``ais``."""
    import jax
    from jax import numpy as jnp

    weight, b, c = (jnp.asarray(p.numpy()) for p in model.parameters)
    ladder = jnp.asarray(betas.numpy(), dtype=jnp.float32)

    def draw(key: Any, logit: Any) -> Any:
        return jax.random.bernoulli(key, jax.nn.sigmoid(logit)).astype(logit.dtype)

    def step(state: Any, pair: Any) -> Any:
        v, log_weights, key = state
        previous, beta = pair
        key, for_h, for_v = jax.random.split(key, 3)
        a = v @ weight + c
        change = jax.nn.softplus(beta * a) - jax.nn.softplus(previous * a)
        log_weights += (beta - previous) * (v @ b) + change.sum(1)
        h = draw(for_h, beta * a)
        return (draw(for_v, beta * (h @ weight.T + b)), log_weights, key), None

    @jax.jit
    def anneal(key: Any) -> Any:
        key, for_start = jax.random.split(key)
        v = draw(for_start, jnp.zeros((n_chains, len(b))))
        state = (v, jnp.zeros(n_chains), key)
        return jax.lax.scan(step, state, (ladder[:-1], ladder[1:]))[0][1]

    key = jax.random.key(0, impl=keys)
    return lambda: log_z(anneal(key).block_until_ready())


def rbms_ais(model: Model, n_betas: int, n_chains: int) -> Callable[[], Any]:
    from rbms.partition_function.ais import compute_partition_function_ais

    rbm = rbms_model(model)
    return lambda: compute_partition_function_ais(n_chains, n_betas, rbm)


# --- Free energy ------------------------------------------------------------------------------------


def free_energy(n_examples: int = 500, n_visible: int = 784, n_hidden: int = 500) -> Row:
    model = Model.random(n_visible, n_hidden, scale=0.5 / math.sqrt(n_visible))
    visible = model.start(n_examples)

    def with_gradient(value: Callable[..., Tensor]) -> Callable[[], Callable[[], Any]]:
        def call() -> Any:
            parameters = [p.clone().requires_grad_() for p in model.parameters]
            return torch.autograd.grad(value(visible, *parameters).mean(), parameters)

        return lambda: call

    def plain(v: Tensor, weight: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return -(v @ b) - F.softplus(F.linear(v, weight.t(), c)).sum(1)

    def gemms() -> Callable[[], None]:
        gradient = torch.full((n_examples, n_hidden), 0.5)
        a, weight_gradient = torch.empty_like(gradient), torch.empty_like(model.weight)

        def call() -> None:
            torch.mm(visible, model.weight, out=a)
            torch.mm(visible.t(), gradient, out=weight_gradient)

        return call

    def check(ours: Any, theirs: Any) -> None:
        for x, y in zip(ours, theirs):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)

    return Row(
        name="free_energy",
        title=f"free energy, forward and backward, RBM {n_visible}x{n_hidden}, batch {n_examples}",
        unit="call",
        units_per_call=1,
        contenders=[
            Contender(
                "torch_ebm rbm_free_energy", with_gradient(torch.ops.torch_ebm.rbm_free_energy)
            ),
            Contender("limit: its two GEMMs alone", gemms, is_limit=True),
            Contender("plain torch, linear + softplus", with_gradient(plain)),
        ],
        check=check,
        rounds=41,
    )


# --- Training ---------------------------------------------------------------------------------------


def rbm_update(n_visible: int = 64, n_hidden: int = 64, batch: int = 10) -> Row:
    """An update of persistent contrastive divergence: chains, gradient, step."""
    model = Model.random(n_visible, n_hidden, scale=0.5 / math.sqrt(n_visible))
    data = model.start(batch)

    def ours() -> Callable[[], Any]:
        rbm = torch_ebm.RBM(n_visible, n_hidden)
        optimizer = torch.optim.SGD(rbm.parameters(), lr=0.01)
        pcd = torch_ebm.PCD(batch, (n_visible,))

        def call() -> None:
            optimizer.zero_grad()
            negative = pcd(rbm)
            torch_ebm.maximum_likelihood(rbm, data, negative_samples=negative).backward()
            optimizer.step()

        return call

    def sklearn() -> Callable[[], Any]:
        from sklearn.neural_network import BernoulliRBM

        rbm = BernoulliRBM(n_components=n_hidden, learning_rate=0.01, batch_size=batch)
        examples = data.numpy()
        return lambda: rbm.partial_fit(examples)

    return Row(
        name=f"rbm_update_{n_visible}x{n_hidden}_{batch}",
        title=f"PCD update, RBM {n_visible}x{n_hidden}, batch {batch}",
        unit="update",
        units_per_call=1,
        contenders=[
            Contender("torch_ebm, PCD + maximum_likelihood + SGD", ours),
            Contender("scikit-learn BernoulliRBM.partial_fit", sklearn),
        ],
        check=lambda ours, theirs: None,
        targets={"scikit-learn BernoulliRBM.partial_fit": 1.0},
        rounds=41,
    )


# --- The Bernoulli kernel ---------------------------------------------------------------------------


def bernoulli(n_chains: int = 1000, n_visible: int = 4096, n_steps: int = 4) -> Row:
    """Gibbs sampling with one hidden unit: hardly more than the sigmoid and the draw."""
    row = gibbs(n_chains, n_visible, n_hidden=1, n_steps=n_steps)
    row.name = "bernoulli"
    row.title = f"sigmoid + Bernoulli draw alone: Gibbs, RBM {n_visible}x1, {n_chains} chains"
    row.unit = "1000 draws"
    row.units_per_call = n_chains * n_visible * n_steps / 1000
    row.contenders = [c for c in row.contenders if not c.name.startswith("scikit")]
    row.targets = {}
    return row


ROWS: dict[str, Callable[[], Row]] = {
    "gibbs": gibbs,
    "ais": ais,
    "free_energy": free_energy,
    "bernoulli": bernoulli,
    **{
        f"rbm_update_{v}x{h}_{batch}": partial(rbm_update, n_visible=v, n_hidden=h, batch=batch)
        for v, h, batch in [(64, 64, 10), (64, 64, 100), (784, 500, 100)]
    },
}
