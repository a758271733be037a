"""The noise that noise-contrastive criteria compare the data with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple, Optional, Protocol, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ._seeded_draws import SeededDraws
from .energy import Energy, energies_of


class NoiseDistribution(Protocol):
    """A distribution with samples and a known density: one of :mod:`torch.distributions`, or your
    own.

    ``sample((n,))`` returns n independent states, (n, ...), and ``log_prob(u)`` their log
    densities, (n,): wrap a distribution of single units in
    :class:`torch.distributions.Independent`. If ``sample`` takes a keyword ``generator``, it is
    given that of the criterion. Those of :mod:`torch.distributions` take none: what they draw
    follows from a seed that the criterion's generator gives, or, without one, from torch's default
    generator.
    """

    def sample(self, sample_shape: Sequence[int], /) -> Tensor: ...

    def log_prob(self, u: Tensor, /) -> Tensor: ...


class NoiseSamples(NamedTuple):
    """What a noise-contrastive criterion needs of the noise, for data x, (N, ...).

    Gradients go through all three, so that a noise model can be trained on the same criterion
    (flow-contrastive estimation, Gao et al. 2020): detach what is not to be trained.
    """

    #: nu samples for each example, (N, nu, ...), like x.
    samples: Tensor
    #: log p_noise(samples), (N, nu).
    log_prob: Tensor
    #: log p_noise(x), (N,).
    data_log_prob: Tensor


@names_wrong_types
def draw_noise(
    noise: NoiseDistribution,
    x: Tensor,
    n_noise: int = 1,
    *,
    generator: Optional[torch.Generator] = None,
) -> NoiseSamples:
    """``n_noise`` samples of ``noise`` for each example of x, (N, ...), and the log densities.

    They have no gradients. The criteria draw them anew at every call. If the loss must be the same
    function every time, as for LBFGS, draw once and pass the result as ``noise``.

    Raises:
        ValueError: ``n_noise`` < 1, samples or log densities in other shapes.
    """
    return _drawn("draw_noise", noise, x, n_noise, generator)


@names_wrong_types
def model_noise(energy: Energy, x: Tensor, negative_samples: Tensor) -> NoiseSamples:
    """A model as the noise: its samples with the log densities -E, without its -log Z.

    NCE against a copy of the trained model itself is self-contrastive estimation (Goodfellow
    2014)::

        negative = torch_ebm.gibbs(energy, x, n_steps=10).x
        loss = torch_ebm.nce(energy, x, torch_ebm.model_noise(energy, x, negative.unsqueeze(1)))

    As long as the two are the same, its gradient, with ``log_z`` absent or 0, is nu / (1 + nu)
    times that of maximum likelihood on these negative samples: with nu = 1, half of it.

    Args:
        energy: the noise's energy.
        x: the data, (N, ...).
        negative_samples: samples of the noise, (N, nu, ...).

    Returns:
        Samples and log densities, without gradients.

    Raises:
        ValueError: ``negative_samples`` that do not fit x.
    """
    shape = tuple(negative_samples.shape)
    if len(shape) < 2 or shape[1] < 1 or (shape[0], *shape[2:]) != tuple(x.shape):
        raise ValueError(
            "model_noise: negative_samples must have shape (N, nu, ...), like x "
            f"{tuple(x.shape)} with nu >= 1 after N, got {shape}"
        )
    n, nu = shape[:2]
    with torch.no_grad():
        of_samples = energies_of(energy, negative_samples.flatten(0, 1)).view(n, nu)
        return NoiseSamples(negative_samples.detach(), -of_samples, -energies_of(energy, x.detach()))


def noise_arguments(
    op: str,
    noise: Union[NoiseDistribution, NoiseSamples],
    x: Tensor,
    n_noise: Optional[int],
    generator: Optional[torch.Generator],
) -> dict[str, Tensor]:
    """The arguments of the operator ``op``, for noise already drawn or to be drawn here."""
    if isinstance(noise, NoiseSamples):
        if n_noise is not None or generator is not None:
            raise ValueError(
                f"{op}: n_noise and generator must be left out with NoiseSamples, which are "
                "drawn already"
            )
    else:
        noise = _drawn(op, noise, x, 1 if n_noise is None else n_noise, generator)
    return {
        "noise": noise.samples,
        "noise_log_prob": noise.log_prob,
        "data_log_prob": noise.data_log_prob,
    }


def _drawn(
    op: str,
    noise: NoiseDistribution,
    x: Tensor,
    n_noise: int,
    generator: Optional[torch.Generator],
) -> NoiseSamples:
    if not isinstance(n_noise, int):
        raise TypeError(f"{op}: n_noise must be an integer, got {n_noise!r}")
    if n_noise < 1:
        raise ValueError(f"{op}: n_noise must be at least 1, got {n_noise}")
    if not (hasattr(noise, "sample") and hasattr(noise, "log_prob")):
        raise TypeError(
            f"{op}: noise must have methods sample and log_prob, or be NoiseSamples, got "
            f"{type(noise).__name__}"
        )
    if x.dim() == 0:
        raise ValueError(f"{op}: x must have shape (N, ...), got ()")
    n, unit_shape = len(x), x.shape[1:]
    with torch.no_grad():
        samples = sample_from(noise, n * n_noise, generator)
        _check_shape(op, "sample", samples, (n * n_noise, *unit_shape))
        return NoiseSamples(
            samples.to(x).view(n, n_noise, *unit_shape),
            _log_prob(op, noise, samples).view(n, n_noise),
            _log_prob(op, noise, x.detach()),
        )


def sample_from(noise: NoiseDistribution, n: int, generator: Optional[torch.Generator]) -> Tensor:
    """``n`` samples, drawn from ``generator`` if there is one, even if ``noise`` takes none."""
    if "generator" in inspect.signature(noise.sample).parameters:
        return noise.sample(torch.Size([n]), generator=generator)
    if generator is None:
        return noise.sample(torch.Size([n]))
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    with SeededDraws(seed):  # such a distribution draws from torch's default generators
        return noise.sample(torch.Size([n]))


def _log_prob(op: str, noise: NoiseDistribution, u: Tensor) -> Tensor:
    log_prob = noise.log_prob(u)
    hint = "; wrap a distribution of single units in torch.distributions.Independent"
    _check_shape(op, "log_prob", log_prob, (len(u),), hint)
    return log_prob


def _check_shape(op: str, what: str, value: Tensor, expected: tuple, hint: str = "") -> None:
    got = tuple(value.shape)
    if got != expected:
        raise ValueError(f"{op}: the noise's {what} must have shape {expected}, got {got}{hint}")
