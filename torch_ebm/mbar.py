"""log Z of many distributions from samples of some or all of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _library  # noqa: F401


class MBAREstimate(NamedTuple):
    """The result of :func:`mbar` for K states, in float64."""

    log_z: Tensor
    """log Z_k / Z_0, (K,); the first is 0."""
    covariance: Tensor
    """Of ``log_z``, (K, K); first row and column are 0."""
    overlap: Tensor
    """(K, K): the mean probability that a sample of state i belongs to state j; 0 where j has no
    samples."""


def mbar(energies: Tensor, counts: Tensor) -> MBAREstimate:
    """log Z of K states by the multistate Bennett acceptance ratio.

    Shirts & Chodera (2008), eqs. 11-12: the bridge estimator of least asymptotic variance. The
    equations are solved to 1e-10 in ``log_z`` by Newton's method, with self-consistent iterations
    where it makes no progress. Memory, apart from the arguments, does not grow with K N.

    Args:
        energies: E_k(x_n), including the inverse temperature, of every sample at every state,
            (K, N), floating; +inf where a state forbids a sample.
        counts: the number of samples of each state, (K,), integers that add up to N; a state may
            have none. The order of the samples does not matter.

    Returns:
        The covariance is the asymptotic one of independent samples (their eq. 8). Of autocorrelated
        samples keep one per autocorrelation time, or see :func:`tempered_log_z`.

    Raises:
        ValueError: other shapes; counts that do not fit; energies that are NaN or -inf; a state
            that forbids every sample; states in groups that hardly overlap, so that no ratio
            between the groups is known.
    """
    return MBAREstimate(*torch.ops.torch_ebm.mbar(energies, counts))
