"""The geometric path from a known distribution to an energy."""

from __future__ import annotations

import math
from typing import Optional

from torch import Tensor
from torch.distributions.constraints import Constraint

from .energy import Energy, has_method
from .noise import NoiseDistribution


class AnnealedEnergy:
    """What :func:`annealed_energy` returns."""

    def __init__(self, energy: Energy, base: NoiseDistribution) -> None:
        self.energy = energy
        self.base = base
        if has_method(energy, "value_and_score"):
            self.value_and_score = energy.value_and_score

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x)

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
