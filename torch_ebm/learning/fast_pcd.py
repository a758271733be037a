"""Persistent contrastive divergence with fast weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Optional

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, energies_of
from ..samplers.gibbs import gibbs
from ..samplers.sampler import Sampler
from ._own_state import OwnState
from .negative_phase import PCD, StartLaw


class FastPCD(PCD):
    """Persistent chains that see the parameters plus fast weights (Tieleman & Hinton 2009).

    After every call::

        fast = decay * fast + fast_learning_rate * g
        g = mean grad E(negative) - mean grad E(positive)

    Here g is the gradient of the log-likelihood, estimated at the parameters themselves. The fast
    weights raise the energy where the chains are, and so drive the chains on even where the model
    itself mixes slowly.

    Called as ``fpcd(energy, positive)``: ``energy`` is the module, scripted or not, that this was
    made for, or one with the same parameters, and ``positive`` is the batch of data. The parameters
    that require a gradient are changed in place while the sampler runs and are then restored
    bit for bit, even after an exception. ``.grad`` and graphs recorded before are left alone.

    Args:
        shape: of one state.
        module: the energy to be trained; only the shapes of its parameters are kept.
        sampler: a transition of all chains; default: one step of :func:`torch_ebm.gibbs`.
        fast_learning_rate: finite and >= 0.
        decay: in [0, 1].
        law: distribution of the first states, see :func:`torch_ebm.start_states`.
        seed: only its low 32 bits count; default: drawn from torch's default generator.

    Attributes:
        chains: (n_chains, ...), saved in the state dict.
        fast: a module that holds fast weights for every parameter, in their order
            (``own_tensors()``), saved in the state dict.

    Raises:
        TypeError: an energy that is not a module.
        ValueError: a module without parameters that require a gradient, a ``fast_learning_rate`` or
            ``decay`` out of range; in a call, no data, an energy with other parameters, or a
            gradient that is not finite.
    """

    @torch.inference_mode(False)
    @names_wrong_types
    def __init__(
        self,
        n_chains: int,
        shape: Sequence[int],
        module: torch.nn.Module,
        sampler: Sampler = gibbs,
        *,
        fast_learning_rate: float,
        decay: float = 0.95,
        law: StartLaw = "bernoulli",
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(n_chains, shape, sampler, law=law, seed=seed)
        if not 0 <= fast_learning_rate < math.inf:
            raise ValueError(
                f"FastPCD: fast_learning_rate must be finite and >= 0, got {fast_learning_rate}"
            )
        if not 0 <= decay <= 1:
            raise ValueError(f"FastPCD: decay must be in [0, 1], got {decay}")
        self.fast_learning_rate = fast_learning_rate
        self.decay = decay
        self.fast = OwnState()
        for number, parameter in enumerate(_parameters(module)):
            self.fast._set_own(str(number), torch.zeros_like(parameter.detach()))

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        self._positive = self._data(positive)
        return super()._first_states(positive, generator)

    def _transition(self, energy: Energy, start: Tensor, generator: torch.Generator) -> Tensor:
        parameters, fast = _parameters(energy), self.fast.own_tensors()
        expected, got = [tuple(f.shape) for f in fast], [tuple(p.shape) for p in parameters]
        if got != expected:
            raise ValueError(
                "FastPCD: energy must have the parameters of module, of shapes"
                f" {expected}, got {got}"
            )
        with _moved(parameters, fast):
            last = super()._transition(energy, start, generator)
        gradients = _log_likelihood_gradient(energy, self._positive, last, parameters)
        self._next_fast = [
            self.decay * f + self.fast_learning_rate * g for f, g in zip(fast, gradients)
        ]
        return last

    def _keep(self, last_states: Tensor) -> None:
        super()._keep(last_states)
        for fast, following in zip(self.fast.own_tensors(), self._next_fast):
            fast.copy_(following)


def _parameters(module: torch.nn.Module) -> list[Tensor]:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"FastPCD: energy must be a module, got {type(module).__name__}")
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("FastPCD: module must have parameters that require a gradient")
    return parameters


@contextlib.contextmanager
def _moved(parameters: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
    """Moves parameters in place inside the ``with`` block, then copies the saved values back.

    Subtracting would round. Changes made through ``.data`` do not invalidate graphs recorded
    before.
    """
    saved = [parameter.detach().clone() for parameter in parameters]
    try:
        for parameter, offset in zip(parameters, offsets):
            parameter.data.add_(offset)
        yield
    finally:
        for parameter, value in zip(parameters, saved):
            parameter.data.copy_(value)


def _log_likelihood_gradient(
    energy: Energy, positive: Tensor, negative: Tensor, parameters: list[Tensor]
) -> list[Tensor]:
    """The gradient of mean E(negative) - mean E(positive); 0 where it does not depend on a
    parameter.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Clones: tensors made under inference mode do not enter a graph.
        of_negative, of_positive = (energies_of(energy, x.clone()) for x in (negative, positive))
        gap = of_negative.mean() - of_positive.mean()
        gradients = torch.autograd.grad(gap, parameters, allow_unused=True, materialize_grads=True)
    if not all(g.isfinite().all() for g in gradients):
        raise ValueError("FastPCD: the gradient of energy must be finite")
    return list(gradients)
