"""log Z as a differentiable quantity."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, energies_of


@names_wrong_types
def log_partition(
    energy: Energy,
    negative_samples: Tensor,
    log_z: Union[float, Tensor, None] = None,
    weights: Optional[Tensor] = None,
) -> Tensor:
    """log Z, whose gradient is the negative phase: grad log Z = -mean grad E(negative_samples).

    (Goodfellow, Bengio & Courville 2016, eq. 18.13.) Its value is ``log_z`` if given, otherwise
    -mean E(negative_samples). The training loss is::

        loss = energy(data).mean() + log_partition(energy, negative_samples, log_z)

    which is the negative log-likelihood if ``log_z`` is log Z, and the energy gap without it.
    Inside a scripted model call ``torch.ops.torch_ebm.log_partition(energy(negative), log_z)``.

    Args:
        negative_samples: samples of the model, (N, ...); they get no gradient.
        log_z: one number.
        weights: (N,), floating, as :class:`torch_ebm.UnbiasedCD` returns them: the sum of
            w_i E(x_i) replaces the means above. They get no gradient.

    Returns:
        One number, shape (); NaN if an energy is NaN.
    """
    if log_z is not None and not isinstance(log_z, Tensor):
        log_z = torch.tensor(float(log_z), dtype=torch.float64)
    energies = energies_of(energy, negative_samples.detach())
    return torch.ops.torch_ebm.log_partition(energies, log_z, weights)
