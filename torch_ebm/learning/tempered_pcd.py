"""Persistent contrastive divergence over a ladder of temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_ladder
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from ..samplers.gibbs import gibbs
from ..samplers.replica_exchange import replica_exchange
from ..samplers.sampler import Sampler
from .negative_phase import NegativePhase, StartLaw, start_states


class TemperedPCD(NegativePhase):
    """Persistent chains at every rung of a ladder (Desjardins et al. 2010; Cho, Raiko & Ilin 2010).

    They are moved by :func:`torch_ebm.replica_exchange`: hot chains cross between modes in which
    those of PCD would stay. The negative samples are those of rung 0.

    Args:
        shape: of one state.
        betas: (R,), strictly decreasing; the first is the model's, usually 1. Not saved with the
            module.
        sampler: as for :func:`torch_ebm.replica_exchange`; default: one step of
            :func:`torch_ebm.gibbs`.
        n_steps: steps of replica exchange per call.
        law: distribution of the first states, see :func:`start_states`.
        seed: only its low 32 bits count; default: drawn from torch's default generator.

    Attributes:
        chains: (R, n_chains, ...), saved in the state dict.
        parity: 0 if the next call swaps even pairs first, 1 if odd ones.
        swap_rate: of the last call, (R - 1,); None before the first.

    Raises:
        ValueError: in a call, for ``betas`` or ``n_steps`` that replica exchange rejects.
    """

    chains: Tensor
    parity: Tensor

    @torch.inference_mode(False)
    @names_wrong_types
    def __init__(
        self,
        n_chains: int,
        shape: Sequence[int],
        betas: Union[Tensor, Sequence[float]],
        sampler: Sampler = gibbs,
        *,
        n_steps: int = 1,
        law: StartLaw = "bernoulli",
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(sampler, seed)
        self.betas = as_ladder(betas)
        self.n_steps = n_steps
        self.swap_rate: Optional[Tensor] = None
        generator = self._generator()
        size = (len(self.betas), n_chains, *shape)
        self._set_own("chains", start_states(law, size, generator=generator))
        self._set_own("parity", torch.zeros((), dtype=torch.int64))
        self._keep_generator(generator)

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        return self.chains.clone()

    def _transition(self, energy: Energy, start: Tensor, generator: torch.Generator) -> Tensor:
        samples = replica_exchange(
            energy,
            start,
            self.betas,
            self.sampler,
            first_step=int(self.parity),
            n_steps=self.n_steps,
            generator=generator,
        )
        self.swap_rate = samples.swap_rate
        return samples.x

    def _keep(self, last_states: Tensor) -> None:
        self.chains.copy_(last_states)
        self.parity.fill_((int(self.parity) + self.n_steps) % 2)

    def _negatives(self, last_states: Tensor) -> Tensor:
        return last_states[0].clone()
