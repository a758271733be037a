"""log Z as an integral over temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor

from ._arguments import as_ladder
from .log_z_estimate import LogZEstimate, overlap_estimate


def thermodynamic_integration(
    betas: Union[Tensor, Sequence[float]], derivatives: Tensor, *, corrected: bool = True
) -> LogZEstimate:
    """log(Z(betas[-1]) / Z(betas[0])) = -int E[dE_beta / dbeta] dbeta (Gelman & Meng 1998).

    By the trapezoidal rule over the R temperatures, with the correction by variances that makes it
    one of fourth order (Friel, Hurn & Wyse 2014, eq. 14). The standard error is that of the samples
    alone. The interval is longer on both sides by an estimate of what the rule leaves out: how much
    leaving out every second temperature changes the sum, scaled by the order of the rule (of two
    temperatures, the correction itself).

    Args:
        betas: (R,), R >= 2, strictly monotone.
        derivatives: dE_beta / dbeta, which is E of beta E, at samples of each temperature's law:
            (R, M) of M >= 2 independent samples, or (R, T, C) of C >= 2 independent chains each;
            chain c of one temperature may depend on chain c of another, as those of a ladder do.
        corrected: the correction; it holds for energies linear in beta, as beta E is.

    Returns:
        ``ess`` is the number of independent samples of each temperature that would have the same
        standard error. ``log_weights`` is empty. Warns if the ESS is below 10 or the interval
        longer than 2.

    Raises:
        ValueError: other shapes, betas that are not strictly monotone, values that are not finite.
    """
    path = as_ladder(betas)
    return overlap_estimate(
        torch.ops.torch_ebm.thermodynamic_integration(path, derivatives, corrected=corrected),
        path.detach().double(),
    )
