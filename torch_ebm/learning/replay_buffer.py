"""The replay buffer: negative samples from persistent chains that are occasionally restarted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..samplers.sampler import Sampler
from .negative_phase import NegativePhase, StartLaw, start_states


class ReplayBuffer(NegativePhase):
    """Chains kept in a buffer larger than a batch (Du & Mordatch 2019; Grathwohl et al. 2020).

    A call draws ``n_chains`` different slots at random, restarts each of them from ``law`` with
    probability ``reinit_probability``, runs the sampler and writes every result back to its slot.

    Args:
        shape: of one state.
        sampler: a transition of all chains, for example
            ``functools.partial(langevin, n_steps=60)``.
        law: distribution of new states, see :func:`start_states`.
        seed: only its low 32 bits count; default: drawn from torch's default generator.

    Attributes:
        states: (capacity, ...), saved in the state dict.
        age: the number of calls that have moved each state since it was drawn from ``law``,
            (capacity,), int64, saved too.
        slots: the slots that a call draws, (n_chains,), known before its sampler runs; None before
            the first call. An energy may use them: with a label for every slot,
            ``lambda x: model(x, labels[buffer.slots])``.

    Raises:
        ValueError: not 1 <= ``n_chains`` <= ``capacity``, ``reinit_probability`` outside [0, 1].
    """

    states: Tensor
    age: Tensor

    @torch.inference_mode(False)
    @names_wrong_types
    def __init__(
        self,
        capacity: int,
        n_chains: int,
        shape: Sequence[int],
        sampler: Sampler,
        *,
        law: StartLaw = "uniform",
        reinit_probability: float = 0.05,
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(sampler, seed)
        if not 1 <= n_chains <= capacity:
            raise ValueError(
                f"ReplayBuffer: n_chains must be from 1 to capacity, {capacity}, got {n_chains}"
            )
        if not 0 <= reinit_probability <= 1:
            raise ValueError(
                f"ReplayBuffer: reinit_probability must be in [0, 1], got {reinit_probability}"
            )
        self.n_chains = n_chains
        self.slots: Optional[Tensor] = None
        self.law = law
        self.reinit_probability = reinit_probability
        generator = self._generator()
        self._set_own("states", start_states(law, (capacity, *shape), generator=generator))
        self._set_own("age", torch.zeros(capacity, dtype=torch.int64))
        self._keep_generator(generator)

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        def uniform(n: int) -> Tensor:
            u = start_states("uniform", (n,), dtype=torch.float64, generator=generator)
            return u.to(self.states.device)

        self.slots = uniform(len(self.states)).argsort()[: self.n_chains]
        self._restart = uniform(self.n_chains) < self.reinit_probability
        kept = self.states[self.slots]
        fresh = start_states(
            self.law, kept.shape, dtype=kept.dtype, device=kept.device, generator=generator
        )
        return torch.where(self._restart.view(-1, *[1] * (kept.dim() - 1)), fresh, kept)

    def _keep(self, last_states: Tensor) -> None:
        self.states[self.slots] = last_states
        self.age[self.slots] = self.age[self.slots].masked_fill(self._restart, 0) + 1
