"""log Z_1 / Z_0 from samples of two laws."""

from __future__ import annotations

import torch
from torch import Tensor

from .log_z_estimate import LogZEstimate, overlap_estimate


def bridge_sampling(
    log_ratio_0: Tensor, log_ratio_1: Tensor, *, bridge: str = "optimal"
) -> LogZEstimate:
    """log(Z_1 / Z_0) of two laws f_k / Z_k from samples of both.

    The estimate r solves ``r = mean_0[f_1 a] / mean_1[f_0 a]``, with a the bridge (Meng & Wong
    1996, eq. 4.1). The log weights of annealing forward and backward between two laws, those
    backward with the other sign, are log ratios too (Shirts et al. 2003).

    With O the sum over all samples of p (1 - p), p the probability that a sample is one of law 1,
    the standard error is sqrt(1 / O - 1 / n_0 - 1 / n_1), that of the optimal bridge and so the
    least there is (Meng & Wong 1996, theorem 1; Shirts et al. 2003), or that of the delta method
    (Bennett 1976, eq. 10a), whichever is larger. Both are those of independent samples. Of chains
    it is that of a jackknife over the chains of each law, which knows their autocorrelation.

    Args:
        log_ratio_0: log f_1(x) / f_0(x) = E_0(x) - E_1(x) at samples of law 0: (n,) if they are
            independent, or (T, C) of C >= 2 independent chains. -inf where f_1 is 0.
        log_ratio_1: the same at samples of law 1; +inf where f_0 is 0. Of chains, if the other is;
            T and C may differ.
        bridge: ``"optimal"``, 1 / (n_0 f_0 / Z_0 + n_1 f_1 / Z_1), which makes it Bennett's
            acceptance ratio (Bennett 1976), or ``"geometric"``, 1 / sqrt(f_0 f_1).

    Returns:
        ``log_z`` is the ratio's logarithm, ``ess`` is 4 O: half as many samples of each of two
        equal laws would do as well. ``log_weights`` is empty. Warns if the ESS is below 10 or the
        interval longer than 2.

    Raises:
        ValueError: fewer than 2 samples or chains of a law; NaN; infinite ratios of the wrong sign;
            another bridge; no sample of a law in the reach of the other.
    """
    return overlap_estimate(
        torch.ops.torch_ebm.bridge_sampling(log_ratio_0, log_ratio_1, bridge=bridge)
    )
