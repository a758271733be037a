"""HMC and NUTS of torch_ebm, BlackJAX and NumPyro, with one interface for ess.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from ess_targets import Target
from torch import Tensor

import torch_ebm


@dataclass(frozen=True)
class Work:
    """The work of every contender: the numbers of chains, adaptation steps, and draws per chain."""

    n_chains: int
    n_warm_up: int
    n_draws: int
    n_leapfrog: int


class Contender(ABC):
    """``prepare`` compiles and adapts, once; ``sample`` continues from there."""

    name: str

    def __init__(self, target: Target, sampler: str, work: Work) -> None:
        self.target, self.sampler, self.work = target, sampler, work
        generator = torch.Generator().manual_seed(0)
        self.start = torch.randn(work.n_chains, target.dimension, generator=generator)

    @abstractmethod
    def prepare(self) -> None:
        """ImportError: not installed."""

    @abstractmethod
    def sample(self, seed: int) -> Any:
        """Draws, (n_draws, n_chains, dimension), or a value that ``as_draws`` converts to that."""

    def as_draws(self, result: Any) -> Tensor:
        """(n_draws, n_chains, dimension), not timed."""
        return torch.tensor(result.__array__())


class Ours(Contender):
    name = "torch_ebm"

    def prepare(self) -> None:
        self.energy = torch.jit.script(self.target.energy)
        self.options = {} if self.sampler == "nuts" else {"n_leapfrog": self.work.n_leapfrog}
        self.adapted = torch_ebm.warm_up(
            self.energy,
            self.start,
            sampler=self.sampler,
            n_steps=self.work.n_warm_up,
            **self.options,
        )

    def sample(self, seed: int) -> Tensor:
        return getattr(torch_ebm, self.sampler)(
            self.energy,
            self.adapted.x,
            step_size=self.adapted.step_size,
            inverse_mass=self.adapted.inverse_mass,
            n_steps=self.work.n_draws,
            thin=1,
            generator=torch.Generator().manual_seed(seed),
            **self.options,
        ).trajectory

    def as_draws(self, result: Tensor) -> Tensor:
        return result


class BlackJAX(Contender):
    name = "blackjax"

    def prepare(self) -> None:
        import blackjax
        import jax

        energy = self.target.jax_energy()
        algorithm = getattr(blackjax, self.sampler)
        fixed = {} if self.sampler == "nuts" else {"num_integration_steps": self.work.n_leapfrog}

        def log_density(x: Any) -> Any:
            return -energy(x)

        def adapt(key: Any, x: Any) -> Any:
            warm_up = blackjax.window_adaptation(algorithm, log_density, **fixed)
            result, _ = warm_up.run(key, x, self.work.n_warm_up)
            return result.state, result.parameters

        def one_chain(key: Any, state: Any, parameters: Any) -> Any:
            kernel = algorithm(log_density, **parameters).step

            def step(state: Any, key: Any) -> Any:
                state, _ = kernel(key, state)
                return state, state.position

            return jax.lax.scan(step, state, jax.random.split(key, self.work.n_draws))[1]

        self.split = lambda seed: jax.random.split(jax.random.key(seed), self.work.n_chains)
        self.state, adapted = jax.jit(jax.vmap(adapt))(self.split(0), self.start.numpy())
        # Values common to all chains are constants of the kernel, not vectors.
        self.parameters = {name: value for name, value in adapted.items() if name not in fixed}
        self.chains = (
            jax.jit(jax.vmap(lambda key, state, p: one_chain(key, state, {**p, **fixed})))
            .lower(self.split(0), self.state, self.parameters)
            .compile()
        )

    def sample(self, seed: int) -> Any:
        return self.chains(self.split(seed), self.state, self.parameters).block_until_ready()

    def as_draws(self, result: Any) -> Tensor:
        return super().as_draws(result).transpose(0, 1)


class NumPyro(Contender):
    name = "numpyro"

    def prepare(self) -> None:
        import jax
        from numpyro.infer import HMC, MCMC, NUTS

        energy = self.target.jax_energy()
        nuts = self.sampler == "nuts"
        fixed = {} if nuts else {"num_steps": self.work.n_leapfrog, "trajectory_length": None}
        kernel = (NUTS if nuts else HMC)(potential_fn=energy, **fixed)
        mcmc = MCMC(
            kernel,
            num_warmup=self.work.n_warm_up,
            num_samples=self.work.n_draws,
            num_chains=self.work.n_chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.warmup(jax.random.key(0), init_params=self.start.numpy())

        def step(state: Any, _: Any) -> Any:
            state = kernel.sample(state, (), {})
            return state, state.z

        def chains(state: Any) -> Any:
            return jax.lax.scan(step, state, length=self.work.n_draws)[1]

        # mcmc.run would compile anew in every call.
        self.keys = lambda seed: jax.random.split(jax.random.key(seed), self.work.n_chains)
        self.state = mcmc.post_warmup_state._replace(rng_key=self.keys(0))
        self.chains = jax.jit(chains).lower(self.state).compile()

    def sample(self, seed: int) -> Any:
        return self.chains(self.state._replace(rng_key=self.keys(seed))).block_until_ready()


CONTENDERS = (Ours, BlackJAX, NumPyro)
