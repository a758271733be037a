"""log Z as an integral over temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor

from ...common._arguments import as_ladder
from ...common._wrong_types import names_wrong_types
from ..log_z_estimate import LogZEstimate, overlap_estimate


@names_wrong_types
def thermodynamic_integration(
    betas: Union[Tensor, Sequence[float]], derivatives: Tensor, *, corrected: bool = True
) -> LogZEstimate:
    """log(Z(betas[-1]) / Z(betas[0])) = -int E[dE_beta / dbeta] dbeta (Gelman & Meng 1998).

    Uses the trapezoidal rule over the R temperatures, with the correction by variances that makes
    it fourth order (Friel, Hurn & Wyse 2014, eq. 14). The standard error is that of the samples
    alone. The interval is widened on both sides by an estimate of the quadrature error: how much
    leaving out every second temperature changes the sum, scaled by the order of the rule (for two
    temperatures, the correction itself).

    Args:
        betas: (R,), R >= 2, strictly monotone.
        derivatives: dE_beta / dbeta, which is E for energies beta E, at samples of each
            temperature: (R, M) of M >= 2 independent samples, or (R, T, C) of C >= 2 independent
            chains each. Chain c of one temperature may depend on chain c of another, as on a
            ladder.
        corrected: apply the correction; it holds for energies linear in beta, such as beta E.

    Returns:
        ``ess`` is the number of independent samples per temperature that would have the same
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
