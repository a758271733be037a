"""Noise-contrastive estimation."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from ..energy.noise import NoiseDistribution, NoiseSamples, noise_arguments
from .criterion import Reduction, run_criterion


@names_wrong_types
def nce(
    energy: Energy,
    x: Tensor,
    noise: Union[NoiseDistribution, NoiseSamples],
    *,
    n_noise: Optional[int] = None,
    log_z: Union[float, Tensor, None] = None,
    weights: Optional[Tensor] = None,
    reduction: Reduction = "mean",
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Noise-contrastive estimation (Gutmann & Hyvärinen 2010, 2012).

    log Z is learned along with the energy, by the logistic loss of telling each example x from its
    nu noise samples y_k, with log nu as the prior log odds::

        l(x) = -log sigmoid(G(x) - log nu) - sum_k log sigmoid(log nu - G(y_k))
        G(u) = -E(u) - log_z - log p_noise(u)

    The noise terms of an example are summed: the mean over the data is that of the data terms plus
    nu times the mean over the noise.

    Consistent, also for log Z, if the noise has positive density wherever the data have. As nu
    grows, it becomes as efficient as maximum likelihood. It fails where noise is easily told from
    data: the loss is then near 0 for many wrong models.

    Inside a scripted model call ``torch.ops.torch_ebm.nce(self.energy, x, noise=y,
    noise_log_prob=..., data_log_prob=..., log_z=self.log_z)`` with noise that you drew, in the
    shapes of :class:`torch_ebm.NoiseSamples`.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: the data, (N, ...), floating.
        noise: a distribution, see :class:`torch_ebm.NoiseDistribution`, from which every call draws
            anew, or the result of :func:`torch_ebm.draw_noise`; see also
            :func:`torch_ebm.model_noise`.
        n_noise: nu, the number of noise samples drawn for each example; default: 1.
        log_z: one number, shape (): a parameter, which gets a gradient, or the known value.
            Default: 0; the energy then learns to be normalised, for which it needs a constant term
            of its own.
        weights, reduction, generator: see :mod:`torch_ebm.criteria.criterion`. The noise is drawn
            from the generator.

    Returns:
        One number, shape (), or, with ``reduction="none"``, (N,).

    Raises:
        ValueError: noise that does not fit x; a log density of the noise that is not finite (the
            message names the first example); n_noise < 1.
    """
    if log_z is not None and not isinstance(log_z, Tensor):
        log_z = torch.tensor(float(log_z), dtype=torch.float64)
    return run_criterion(
        "nce",
        energy,
        x,
        **noise_arguments("nce", noise, x, n_noise, generator),
        log_z=log_z,
        weights=weights,
        reduction=reduction,
    )
