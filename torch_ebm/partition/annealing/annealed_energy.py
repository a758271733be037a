"""The geometric path from a known distribution to an energy."""

from __future__ import annotations

import math
from typing import Optional

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent
from torch.distributions.constraints import Constraint

from ...energy.energy import Energy, HeldEnergy, Registration, held_argument
from ...energy.noise import NoiseDistribution


class AnnealedEnergy:
    """What :func:`annealed_energy` returns."""

    def __init__(self, energy: Energy, base: NoiseDistribution) -> None:
        self.energy = energy
        self.base = base

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x)

    def _held(self) -> Optional[HeldEnergy]:
        """The energy with all its methods, and the base: as logits if it has any, with which the
        energy's own samplers follow the path.
        """
        if type(self) is not AnnealedEnergy:
            return None  # it may have another base or energy
        energy, registration = held_argument(self.energy)
        logits = _logits_of(self.base)
        base = Registration(self.base_energy) if logits is None else None
        handle = torch.ops.torch_ebm._hold_annealed_energy(
            energy, logits, None if base is None else base.handle
        )
        return HeldEnergy(handle, registration, base)

    def base_energy(self, x: Tensor) -> Tensor:
        # torch's distributions reject states outside their support, which a sampler may propose.
        support = support_of(self.base)
        if support is None:
            return -self.base.log_prob(x)
        inside = support.check(x)
        if inside.all():
            return -self.base.log_prob(x)
        energies = x.new_full((len(x),), math.inf)
        if not inside.any():
            return energies
        return energies.index_put((inside,), -self.base.log_prob(x[inside]).to(x.dtype))


def _logits_of(base: NoiseDistribution) -> Optional[Tensor]:
    """The log odds of a distribution of independent binary units, like one state; else None."""
    inner = base
    while isinstance(inner, Independent):
        inner = inner.base_dist
    if type(inner) is not Bernoulli or base.batch_shape:
        return None
    return inner.logits.detach()


def support_of(base: NoiseDistribution) -> Optional[Constraint]:
    """The support of a torch distribution; None if it is not known."""
    try:
        support = getattr(base, "support", None)
    except NotImplementedError:
        return None
    return support if isinstance(support, Constraint) else None


def annealed_energy(energy: Energy, base: NoiseDistribution) -> AnnealedEnergy:
    """``energy`` on the geometric path from a known distribution (Neal 2001, eq. 3).

    The energy at inverse temperature beta is (1 - beta) E_0 + beta E, E_0 = -``base.log_prob``. At
    beta = 1, or without a temperature, it is ``energy``. At beta = 0 it is the base, whose log Z is
    0 if ``log_prob`` is normalised. Every sampler accepts it, including replica exchange.

    It keeps the score and the flip differences of ``energy`` in closed form, and its samplers at
    beta = 1. At every other beta too, if the base is one of independent binary units
    (``Independent(Bernoulli(...), 1)``) and the energy is a :class:`BoltzmannMachine`: that is the
    same machine with other biases.

    For a scripted model, write a module with the methods ``forward(x)``, E, and ``base_energy(x)``.

    Raises:
        TypeError: an energy that cannot be called, or a base without ``log_prob``.
    """
    if not callable(energy):
        raise TypeError(f"annealed_energy: energy must be callable, got {type(energy).__name__}")
    if not hasattr(base, "log_prob"):
        raise TypeError(
            f"annealed_energy: base must have a method log_prob, got {type(base).__name__}"
        )
    return AnnealedEnergy(energy, base)
