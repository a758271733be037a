"""log Z_1 / Z_0 from samples of two distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ..log_z_estimate import LogZEstimate, overlap_estimate


@names_wrong_types
def bridge_sampling(
    log_ratio_0: Tensor, log_ratio_1: Tensor, *, bridge: str = "optimal"
) -> LogZEstimate:
    """log(Z_1 / Z_0) of two distributions f_k / Z_k from samples of both.

    The estimate r solves ``r = mean_0[f_1 a] / mean_1[f_0 a]``, with a the bridge (Meng & Wong
    1996, eq. 4.1). The log weights of annealing forward and backward between two distributions,
    those backward with the opposite sign, are log ratios too (Shirts et al. 2003).

    Let O be the sum of p (1 - p) over all samples, with p the probability that a sample comes from
    distribution 1. The standard error is the larger of sqrt(1 / O - 1 / n_0 - 1 / n_1), that of the
    optimal bridge and so the smallest possible (Meng & Wong 1996, theorem 1; Shirts et al. 2003),
    and that of the delta method (Bennett 1976, eq. 10a). Both assume independent samples. For
    chains it comes from a jackknife over the chains of each distribution, which allows for their
    autocorrelation.

    Args:
        log_ratio_0: log f_1(x) / f_0(x) = E_0(x) - E_1(x) at samples of distribution 0: (n,) if
            they are independent, or (T, C) of C >= 2 independent chains. -inf where f_1 is 0.
        log_ratio_1: the same at samples of distribution 1; +inf where f_0 is 0. Of chains, if the
            other is; T and C may differ.
        bridge: ``"optimal"``, 1 / (n_0 f_0 / Z_0 + n_1 f_1 / Z_1), which makes it Bennett's
            acceptance ratio (Bennett 1976), or ``"geometric"``, 1 / sqrt(f_0 f_1).

    Returns:
        ``log_z`` is the ratio's logarithm. ``ess`` is 4 O: the estimate is as precise as one from
        half as many samples of each of two equal distributions. ``log_weights`` is empty. Warns if
        the ESS is below 10 or the interval longer than 2.

    Raises:
        ValueError: fewer than 2 samples or chains of a distribution; NaN; infinite ratios of the
            wrong sign; an unknown bridge; no sample of one distribution where the other is
            positive.
    """
    return overlap_estimate(
        torch.ops.torch_ebm.bridge_sampling(log_ratio_0, log_ratio_1, bridge=bridge)
    )
