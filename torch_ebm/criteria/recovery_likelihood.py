"""Recovery likelihood: the likelihood of data given noisy copies of them."""

from __future__ import annotations

import math
from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, energies_of, has_method
from ..samplers.sampler import Sampler, Samples, sampler_argument
from .criterion import Reduction, run_criterion


@names_wrong_types
def recovery_energy(energy: Energy, noisy: Tensor, *, sigma: float) -> Energy:
    """The conditional energy of x given ``noisy`` = x + N(0, sigma^2 I) noise, as a module::

        E(x) + |noisy - x|^2 / (2 sigma^2)

    Any sampler can use it. Row n of its batches belongs to row n of ``noisy``, (N, ...). A batch of
    R N states, as of R replicas, gets ``noisy`` R times. It has a method ``value_and_score`` if
    ``energy`` has one.

    Raises:
        TypeError: ``noisy`` is not floating.
        ValueError: ``noisy`` is not a batch of finite states, or ``sigma`` not positive and finite;
            when called, states of another shape.
    """
    if not noisy.is_floating_point():
        raise TypeError(f"recovery_energy: noisy must have a floating dtype, got {noisy.dtype}")
    if noisy.dim() == 0 or noisy.numel() == 0 or not noisy.isfinite().all():
        raise ValueError("recovery_energy: noisy must be a batch of finite states")
    if not (0 < sigma < math.inf and sigma**2 > 0):
        raise ValueError(f"recovery_energy: sigma must be > 0 and finite, got {sigma}")
    has_score = has_method(energy, "value_and_score")
    return (_WithScore if has_score else _RecoveryEnergy)(energy, noisy, sigma)


class _RecoveryEnergy(torch.nn.Module):
    def __init__(self, energy: Energy, noisy: Tensor, sigma: float) -> None:
        super().__init__()
        self.energy = energy
        self._noisy = noisy.detach().clone()
        self._precision = 1 / sigma**2

    def forward(self, x: Tensor) -> Tensor:
        return energies_of(self.energy, x) + self._quadratic(self._displacement(x))

    def _displacement(self, x: Tensor) -> Tensor:
        n, shape = len(self._noisy), tuple(self._noisy.shape)
        if x.shape[1:] != shape[1:] or len(x) % n:
            raise ValueError(
                f"recovery_energy: x must have the shape of noisy, {shape}, or a multiple of"
                f" its rows, got {tuple(x.shape)}"
            )
        return self._noisy.repeat(len(x) // n, *[1] * (x.dim() - 1)) - x

    def _quadratic(self, displacement: Tensor) -> Tensor:
        return self._precision / 2 * displacement.square().reshape(len(displacement), -1).sum(1)


class _WithScore(_RecoveryEnergy):
    def value_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        displacement = self._displacement(x)
        energies, score = self.energy.value_and_score(x)
        return energies + self._quadratic(displacement), score + self._precision * displacement


@torch.compiler.disable
@names_wrong_types
def recovery_likelihood(
    energy: Energy,
    x: Tensor,
    *,
    sigma: float,
    sampler: Sampler,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Recovery likelihood (Gao, Song, Poole, Wu & Kingma 2021): the likelihood of x given
    x~ = x + sigma noise. The conditional p(x | x~), proportional to
    exp(-E(x) - |x~ - x|^2 / (2 sigma^2)), is far easier to sample than p(x): if sigma is small, it
    has one mode, around x~::

        l(x) = E(x) - E(x'),     x' drawn from p(x' | x~) by the sampler, started at x~

    Its gradient is that of -log p(x | x~). Its value is not a likelihood and does not measure how
    good the model is.

    Consistent if the sampler draws from the conditional distribution. A short chain from x~ is
    biased, as contrastive divergence is. It fails where sigma is small compared with the distance
    between modes, whose weights are then not learned. The paper has an energy for each of many
    sigmas; here a single energy models the data without noise.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: (N, ...), floating.
        sigma: the standard deviation of the noise, > 0.
        sampler: called as ``sampler(conditional, noisy, generator=...)`` with a
            :func:`recovery_energy`: for example ``functools.partial(torch_ebm.mala, step_size=0.1,
            n_steps=30)``. A scripted module is called as ``sampler(noisy, beta, generator)``, with
            beta 1, and must contain the conditional energy itself.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`. The noise and the
            sampler draw from the same generator.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        TypeError: a sampler that is not callable.
        ValueError: a ``sigma`` that is not positive and finite, or a sampler that returns another
            shape.
    """
    with sampler_argument(_of_conditional(sampler, sigma), energy) as argument:
        return run_criterion(
            "recovery_likelihood",
            energy,
            x,
            sigma=sigma,
            sampler=argument,
            weights=weights,
            reduction=reduction,
            generator=generator,
        )


def _of_conditional(sampler: Sampler, sigma: float) -> Sampler:
    """``sampler`` as the operator calls it: its initial states are the noisy examples."""
    if isinstance(sampler, torch.jit.ScriptModule) or not callable(sampler):
        return sampler

    def move(
        energy: Energy, noisy: Tensor, *, beta: Tensor, generator: Optional[torch.Generator]
    ) -> Union[Samples, Tensor]:
        return sampler(recovery_energy(energy, noisy, sigma=sigma), noisy, generator=generator)

    return move
