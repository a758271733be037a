"""The geometric path from a known distribution to an energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent
from torch.distributions.constraints import Constraint

from .energy import Energy, has_method
from .noise import NoiseDistribution


# In place of beta = 0: 1e20 times a logit is still a float.
_LEAST_BETA = 1e-20


class AnnealedEnergy:
    """What :func:`annealed_energy` returns."""

    def __init__(self, energy: Energy, base: NoiseDistribution) -> None:
        self.energy = energy
        self.base = base
        self._logits = _logits_of(base)

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x)

    @property
    def value_and_score(self) -> Callable:
        return self._method("value_and_score")

    @property
    def flip_differences(self) -> Callable:
        return self._method("flip_differences")

    @property
    def gibbs(self) -> Callable:
        return self._own_sampler("gibbs")

    @property
    def random_scan_gibbs(self) -> Callable:
        return self._own_sampler("random_scan_gibbs")

    @property
    def gibbs_with_gradients(self) -> Callable:
        return self._own_sampler("gibbs_with_gradients")

    def _method(self, name: str) -> Callable:
        if not has_method(self.energy, name):
            raise AttributeError(f"the energy has no {name} of its own")
        return getattr(self.energy, name)

    def _own_sampler(self, name: str) -> Callable:
        """The energy's sampler of that name, at any temperature; None where it has none."""
        untempered = self._method(name)

        def run(x: Tensor, n_steps: int = 1, beta: Optional[Tensor] = None, *rest: object) -> object:
            if beta is None or bool((beta == 1).all()):
                return untempered(x, n_steps, None, *rest)
            found = self._at_temperature(x, beta)
            if found is None or not hasattr(found[0], name):
                return None
            energy, states, beta = found
            result = getattr(energy, name)(states, n_steps, beta, *rest)
            return result.to(x) if isinstance(result, Tensor) else (result[0].to(x), result[1])

        return run

    def _at_temperature(self, x: Tensor, beta: Tensor) -> Optional[tuple[Energy, Tensor, Tensor]]:
        """An energy whose own samplers leave the path invariant, and its states and temperatures.

        beta E + (1 - beta) E_0 is, up to a constant, beta (E - field.x), where field is
        (1 - beta) / beta times the logits of the base.
        """
        if self._logits is None or self._logits.shape != x.shape[1:]:
            return None
        if not has_method(self.energy, "in_field"):
            return None
        states = x.to(torch.promote_types(x.dtype, torch.float32))
        beta = beta.to(states).clamp_min(_LEAST_BETA)
        times = (1 - beta) / beta
        field = times.view(*beta.shape, *[1] * (x.dim() - 1)) * self._logits.to(states)
        if beta.dim() == 0:
            field = field.view(x.shape[1:])
        return self.energy.in_field(field), states, beta

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
    (``Independent(Bernoulli(...), 1)``) and the energy has a method ``in_field``, as a
    :class:`BoltzmannMachine` does: that is the same machine with other biases.

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
