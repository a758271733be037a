"""What happens to the chains in a replay buffer when the sampler does not move them.

Chain i starts at the number FIRST + i, so that every state shows which chain it descends from; a
state near zero descends from a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import torch_ebm

FIRST = 100.0
#: Langevin steps so small that in float32 no state moves by as much as 0.001.
FROZEN = 1e-12


@dataclass(frozen=True)
class Lineages:
    #: Chains with a descendant in the buffer at the end.
    n_lineages: int
    #: Negatives that descend from a restart.
    n_restarted: int
    #: Chains from which no negative descends.
    n_never_drawn: int

    @staticmethod
    def of(buffer: Tensor, drawn: Tensor, capacity: int) -> Lineages:
        """From the states in the buffer at the end, and all negatives."""
        return Lineages(
            n_lineages=len(ancestors(buffer).unique()),
            n_restarted=int((drawn < FIRST / 2).sum()),
            n_never_drawn=capacity - len(ancestors(drawn).unique()),
        )


def ancestors(states: Tensor) -> Tensor:
    """The chains from which the states descend; restarted states descend from none."""
    return (states[states > FIRST / 2] - FIRST).round().long()


def labels(capacity: int) -> Tensor:
    return FIRST + torch.arange(capacity, dtype=torch.float32)[:, None]


def torchebm(capacity: int, batch: int, restart: float, n_calls: int) -> Lineages:
    from torchebm.core import GaussianModel
    from torchebm.losses import ContrastiveDivergence
    from torchebm.samplers import LangevinDynamics

    model = GaussianModel(mean=torch.zeros(1), cov=torch.eye(1))
    loss = ContrastiveDivergence(
        model,
        LangevinDynamics(model, step_size=FROZEN),
        persistent=True,
        buffer_size=capacity,
        new_sample_ratio=restart,
    )
    data = torch.zeros(batch, 1)
    loss.initialize_buffer((1,))
    loss.replay_buffer.copy_(labels(capacity))
    drawn = torch.cat([loss(data)[1].detach() for _ in range(n_calls)])
    return Lineages.of(loss.replay_buffer, drawn, capacity)


def ours(capacity: int, batch: int, restart: float, n_calls: int) -> Lineages:
    def energy(x: Tensor) -> Tensor:
        return 0.5 * (x**2).sum(1)

    buffer = torch_ebm.ReplayBuffer(
        capacity,
        batch,
        (1,),
        partial(torch_ebm.langevin, step_size=FROZEN),
        reinit_probability=restart,
        law="normal",
        seed=0,
    )
    buffer.states.copy_(labels(capacity))
    drawn = torch.cat([buffer(energy) for _ in range(n_calls)])
    return Lineages.of(buffer.states, drawn, capacity)
