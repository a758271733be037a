"""Replica exchange, or parallel tempering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_ladder
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from .sampler import Sampler, sampler_argument


class ReplicaSamples(NamedTuple):
    """What :func:`replica_exchange` returns for R rungs of N chains.

    Attributes:
        x: the last states, (R, N, ...), detached; rung 0 is the target's.
        swap_rate: mean acceptance probability of the attempted swaps between rungs r and r + 1,
            (R - 1,), float64; NaN if there were none.
        trajectory: the states of rung 0 after every ``thin``-th step, (n_steps // thin, N, ...); of
            all rungs, (n_steps // thin, R, N, ...), with ``all_rungs``.
        replica: the rung, after every step, of the replica that began at rung r,
            (n_steps, R, N), int16.
    """

    x: Tensor
    swap_rate: Tensor
    trajectory: Tensor
    replica: Tensor


@torch.compiler.disable
@names_wrong_types
def replica_exchange(
    energy: Energy,
    x: Tensor,
    betas: Union[Tensor, Sequence[float]],
    sampler: Sampler,
    *,
    first_step: int = 0,
    all_rungs: bool = False,
    n_steps: int = 1,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> ReplicaSamples:
    """Replica exchange of N independent ladders of R rungs (Swendsen & Wang 1986; Geyer 1991).

    The target of rung r is exp(-E_b), where E_b(x) is the energy at inverse temperature
    b = ``betas[r]``: ``tempered(x, b)`` if the energy defines it (an RBM does), else b E(x). A step
    moves all R N states by one call of ``sampler``, then exchanges the states of neighbouring
    rungs, those of pairs (0, 1), (2, 3), ... in even steps and (1, 2), (3, 4), ... in odd ones,
    with probability ``min(1, exp(E_a(x) + E_b(y) - E_a(y) - E_b(x)))``. Both parts leave the
    product of the targets invariant, if the sampler does. Their composition is not reversible, and
    therefore carries states along the ladder faster than random pairs (Okabe et al. 2001; Syed et
    al. 2022).

    Args:
        x: (R, N, ...), floating.
        betas: (R,), strictly decreasing, finite and >= 0; the first is the target's, usually 1.
        sampler: any sampler, for example ``functools.partial(torch_ebm.mala,
            step_size=0.1)``; it gets one ``beta`` for every row. Or a scripted module, whose
            ``forward(x, beta, generator)`` returns the new states.
        first_step: the number of steps already made. It decides which pairs are swapped next, so
            that two short runs equal one long run.
        all_rungs: the trajectory holds the states of all rungs, not of rung 0 alone.
        n_steps, thin, inplace: see :mod:`torch_ebm.samplers.sampler`.
        generator: the swaps draw one key from it, and the sampler its own in every step. The
            numbers of ladder i depend on the number of ladders: the sampler sees R N rows.

    Raises:
        ValueError: a ladder that does not decrease or does not fit ``x``; a sampler that returns
            states of another shape. A swap between energies that are NaN or infinite is rejected.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return ReplicaSamples(
            *torch.ops.torch_ebm.replica_exchange(
                energy_argument,
                x,
                as_ladder(betas),
                move,
                first_step=first_step,
                all_rungs=all_rungs,
                n_steps=n_steps,
                thin=thin,
                inplace=inplace,
                generator=generator,
            )
        )
