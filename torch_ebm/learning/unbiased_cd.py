"""Contrastive divergence without its bias, by coupled chains."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from ..samplers.gibbs import gibbs
from .negative_phase import NegativePhase


class UnbiasedCD(NegativePhase):
    """Negative samples with weights, unbiased (Jacob, O'Leary & Atchade 2020; Qiu, Zhang & Wang
    2020).

    Two chains, a and b, start from every row of data, and a makes the first step alone. From then
    on both make the same steps of :func:`torch_ebm.gibbs` with the same random numbers, until they
    meet at time tau, a(tau) = b(tau - 1), and stay together. Then, whatever the data, an unbiased
    estimate of E f is::

        f(a(k)) + sum of f(a(t)) - f(b(t - 1)) over t = k + 1, ..., tau - 1

    and the gradient of log Z is unbiased too::

        ucd = torch_ebm.UnbiasedCD(n_steps=5)
        negative = ucd(rbm, data)
        loss = rbm(data).mean() + torch_ebm.log_partition(rbm, negative, weights=ucd.weights)

    The M >= N negative samples begin with the N states a(k). An energy with its own Gibbs sampler
    must keep chains together once they have met, as an RBM does: its random numbers may depend only
    on the generator and the row.

    Args:
        n_steps: k; a larger one costs time and lowers the variance.
        max_steps: the most steps that the chains may take until all have met.
        seed: only its low 32 bits count; default: drawn from torch's default generator.

    Attributes:
        weights: of the negative samples of the last call, (M,), each 1 / N or -1 / N, with sum 1,
            in their dtype, but at least float; None before the first.
        start: for every negative sample, the state that its chain started from.

    Raises:
        ValueError: in a call, for no data, data that are not zeros and ones, ``n_steps`` < 1 or
            ``max_steps`` < ``n_steps``.
        RuntimeError: in a call, if chains have not met after ``max_steps`` steps; the message says
            how many.
    """

    @names_wrong_types
    def __init__(
        self, n_steps: int = 1, *, max_steps: int = 1000, seed: Optional[int] = None
    ) -> None:
        super().__init__(gibbs, seed)
        self.n_steps = n_steps
        self.max_steps = max_steps
        self.weights: Optional[Tensor] = None

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        return self._data(positive).clone()

    def _transition(self, energy: Energy, start: Tensor, generator: torch.Generator) -> Tensor:
        with as_argument(energy) as argument:
            x, self._next_weights, self._chain = torch.ops.torch_ebm.unbiased_cd(
                argument,
                start,
                n_steps=self.n_steps,
                max_steps=self.max_steps,
                generator=generator,
            )
        return x

    def _keep(self, last_states: Tensor) -> None:
        self.weights = self._next_weights
        self.start = self.start[self._chain]
