"""log Z of many distributions from samples of some or all of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ... import _library  # noqa: F401
from ...common._wrong_types import names_wrong_types


class MBAREstimate(NamedTuple):
    """The result of :func:`mbar` for K states, in float64."""

    log_z: Tensor
    """log Z_k / Z_0, (K,); the first is 0."""
    covariance: Tensor
    """Of ``log_z``, (K, K); first row and column are 0."""
    overlap: Tensor
    """(K, K): the mean probability that a sample of state i belongs to state j; 0 where j has no
    samples."""


@names_wrong_types
def mbar(energies: Tensor, counts: Tensor) -> MBAREstimate:
    """log Z of K states by the multistate Bennett acceptance ratio.

    Shirts & Chodera (2008), eqs. 11-12: the bridge estimator of least asymptotic variance. The
    equations are solved to 1e-10 in ``log_z`` by Newton's method, with self-consistent iterations
    where it makes no progress. Constants in the energies of a state or of a sample are taken off
    first, so that their size does not matter; float32 energies had them rounded off before. Memory,
    apart from the arguments, does not grow with K N.

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
            between the groups is known; equations that 500 iterations did not solve.
    """
    return MBAREstimate(*torch.ops.torch_ebm.mbar(energies, counts))


@names_wrong_types
def mbar_weights(energies: Tensor, counts: Tensor) -> Tensor:
    """What each sample counts for in a mean over each state, (K, N), float64.

    W of Shirts & Chodera (2008), eq. 9, transposed. Every row adds up to 1: ``mbar_weights(energies,
    counts) @ f`` are the means of values f (N,) over every state. :func:`mbar_expectation` gives
    them with errors.

    Args:
        energies: as for :func:`mbar`.
        counts: as for :func:`mbar`.
    """
    return torch.ops.torch_ebm.mbar_weights(energies, counts)


class MBARExpectation(NamedTuple):
    """The result of :func:`mbar_expectation` for K states, in float64."""

    mean: Tensor
    """(K, ...)."""
    std_error: Tensor
    """(K, ...): asymptotic, of independent samples; that of ``log_z`` is in it."""


@names_wrong_types
def mbar_expectation(energies: Tensor, counts: Tensor, values: Tensor) -> MBARExpectation:
    """Means over every state, from the samples of all, with standard errors.

    Shirts & Chodera (2008), eqs. 13-15. A state without samples gets its means too, by reweighting.

    Args:
        energies: as for :func:`mbar`.
        counts: as for :func:`mbar`.
        values: one value or several of every sample, (N, ...), floating.
    """
    return MBARExpectation(*torch.ops.torch_ebm.mbar_expectation(energies, counts, values))
