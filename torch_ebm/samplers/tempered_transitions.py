"""Tempered transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_ladder
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from .sampler import Sampler, Samples, sampler_argument


@torch.compiler.disable
@names_wrong_types
def tempered_transitions(
    energy: Energy,
    x: Tensor,
    betas: Union[Tensor, Sequence[float]],
    sampler: Sampler,
    *,
    n_steps: int = 1,
    thin: int = 0,
    inplace: bool = False,
    generator: Optional[torch.Generator] = None,
) -> Samples:
    """Tempered transitions of N chains (Neal 1996).

    A proposal climbs the ladder by one move of ``sampler`` at each of ``betas[1:]``, and comes down
    by one at each of them in reverse order. It is accepted with the product of the ratios of
    neighbouring tempered densities on the way. This leaves the distribution at ``betas[0]`` exactly
    invariant.

    Args:
        x: (N, ...), floating.
        betas: (R,), strictly decreasing, finite and >= 0; the first is the target's, usually 1.
        sampler: as for :func:`torch_ebm.replica_exchange`. It must be reversible at every
            temperature: ``mala``, ``hmc``, ``nuts``, ``gibbs_with_gradients``, a random scan, or
            the block Gibbs step of an RBM on its visible units; not a systematic sweep or an
            unadjusted sampler.
        n_steps, thin, inplace: see :mod:`torch_ebm.samplers.sampler`.
        generator: the decisions draw one key from it, and the sampler its own for every move.

    Raises:
        ValueError: a ladder that does not decrease; a sampler that returns states of another shape.
            A proposal that meets energies that are NaN or infinite is rejected.
    """
    with as_argument(energy) as energy_argument, sampler_argument(sampler, energy) as move:
        return Samples(
            *torch.ops.torch_ebm.tempered_transitions(
                energy_argument,
                x,
                as_ladder(betas),
                move,
                n_steps=n_steps,
                thin=thin,
                inplace=inplace,
                generator=generator,
            )
        )
