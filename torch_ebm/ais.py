"""Annealed importance sampling."""

from __future__ import annotations

import contextlib
import math
from typing import Optional

import torch
from torch import Tensor

from .log_z_estimate import LogZEstimate, log_z_from_weights
from .progress import progress_bar
from .rbm import RBM


def ais(
    rbm: RBM,
    *,
    n_chains: int = 100,
    betas: Optional[Tensor] = None,
    base_visible_bias: Optional[Tensor] = None,
    generator: Optional[torch.Generator] = None,
    progress: bool = False,
) -> LogZEstimate:
    """log Z of an RBM by annealed importance sampling, with its error.

    Neal (2001); Salakhutdinov & Murray (2008), eqs. 16-18. The path goes from independent visible
    units with biases bA to the model, with one block Gibbs step at every temperature::

        log f_t(v) = (1 - t) bA.v + t b.v + sum_j softplus(t (c_j + (v W)_j))

    Unbiased for Z, not for log Z.

    Args:
        betas: inverse temperatures that rise from 0 to 1, (K + 1,). Default: 1001, evenly spaced.
        base_visible_bias: bA, (V,); ``base_rate_bias(data)`` serves well. Default: the model's own.
        progress: show a progress bar.

    Raises:
        ValueError: parameters that are not finite, bad ``betas``, ``n_chains`` < 2.
    """
    if n_chains < 2:
        raise ValueError(f"ais: n_chains must be at least 2, got {n_chains}")
    if base_visible_bias is None:
        base_visible_bias = rbm.visible_bias.detach()
    if betas is None:
        betas = torch.linspace(0, 1, 1001, dtype=torch.float64)
    with progress_bar() if progress else contextlib.nullcontext():
        log_weights, _ = torch.ops.torch_ebm.rbm_ais(
            rbm.weight,
            rbm.visible_bias,
            rbm.hidden_bias,
            base_visible_bias,
            betas,
            n_chains=n_chains,
            generator=generator,
        )
    # At t = 0 the softplus terms are log 2 each.
    log_z_base = torch.logaddexp(base_visible_bias.double(), torch.zeros(())).sum()
    return log_z_from_weights(log_weights, log_z_base + rbm.n_hidden * math.log(2))
