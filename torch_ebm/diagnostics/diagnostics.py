"""Convergence diagnostics of chains: R-hat, effective sample sizes, round trips.

Definitions are those of Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis
16(2), as ArviZ computes them. ``x`` is the trajectory of n_chains chains, (n_draws, n_chains, ...),
of any floating dtype. There is one result for each quantity: shape (...), float64, no gradient.
Chains are split into halves first; with an odd number of draws the middle one is left out. A
quantity that never changes has an effective size of all its draws and no R-hat (NaN). All raise
TypeError for another dtype, and ValueError for n_draws < 4, an empty ``x``, and values that are NaN
or infinite.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types

MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100
_ROWS = 10


@names_wrong_types
def r_hat(x: Tensor) -> Tensor:
    """Rank-normalised split R-hat: the larger of that of the values and that of their distances to
    the median.

    It is 1 for chains that agree, and should be below 1.01; inf for chains that are all stuck at
    different values; NaN for a single chain, which has nothing to be compared with. See the module
    for shapes and errors.
    """
    return torch.ops.torch_ebm.r_hat(x)


@names_wrong_types
def ess_bulk(x: Tensor) -> Tensor:
    """Effective number of independent draws for the bulk of the distribution, from ranks.

    Correlations are summed by Geyer's (1992) initial monotone sequence. For antithetic chains it
    exceeds their number of draws S, up to S log10 S. See the module for shapes and errors.
    """
    return torch.ops.torch_ebm.ess_bulk(x)


@names_wrong_types
def ess_tail(x: Tensor) -> Tensor:
    """Effective number of draws for the tails: the smaller of those for the 5% and 95%
    quantiles.
    """
    return torch.ops.torch_ebm.ess_tail(x)


@names_wrong_types
def ess_mean(x: Tensor) -> Tensor:
    """Effective number of independent draws for the mean."""
    return torch.ops.torch_ebm.ess_mean(x)


@names_wrong_types
def mcse_mean(x: Tensor) -> Tensor:
    """Monte Carlo standard error of the mean over all draws: standard deviation /
    sqrt(ess_mean).
    """
    return torch.ops.torch_ebm.mcse_mean(x)


@names_wrong_types
def autocorrelation_time(x: Tensor) -> Tensor:
    """1 + 2 sum_{t >= 1} rho_t in draws, as n_draws n_chains / ess_mean."""
    return torch.ops.torch_ebm.autocorrelation_time(x)


@names_wrong_types
def autocorrelation(x: Tensor) -> Tensor:
    """rho_t for the lags t = 0, ..., n_draws - 1: (n_draws, ...), of all chains together, without
    splitting.

    Vehtari et al. (2021), section 3.2: it stays above 0 if chains disagree. NaN for a quantity that
    never changes.
    """
    return torch.ops.torch_ebm.autocorrelation(x)


@names_wrong_types
def round_trips(replica_trace: Tensor) -> Tensor:
    """How many trips from rung 0 to rung R - 1 and back the replicas of each chain have completed.

    Katzgraber, Trebst, Huse & Troyer (2006). This is what counts in replica exchange: only a
    replica that returns from the hottest rung brings a new state.

    Args:
        replica_trace: (n_sweeps, R, N) integers, the rung of every replica after every sweep.

    Returns:
        (N,), int64, summed over replicas.

    Raises:
        TypeError: another dtype.
        ValueError: R < 2, or a sweep without one replica at each rung.
    """
    return torch.ops.torch_ebm.round_trips(replica_trace)


@dataclass(frozen=True)
class Summary:
    """The result of :func:`summary`: one number for each coordinate, (...), float64. Prints as a
    table.
    """

    n_draws: int
    n_chains: int
    mean: Tensor
    sd: Tensor
    mcse: Tensor
    """Monte Carlo standard error of ``mean``."""
    ess_bulk: Tensor
    ess_tail: Tensor
    r_hat: Tensor
    frozen: Tensor
    """Which coordinates no chain ever changed, (...), bool: those that are the same in all chains,
    and those that differ between chains, as where single-site moves cannot change a total.
    """
    n_frozen_chains: int
    """Chains of which no coordinate ever changed."""

    @property
    def moves(self) -> Tensor:
        """Which coordinates are not the same in all draws of all chains, (...), bool."""
        return self.sd > 0

    @property
    def converged(self) -> bool:
        """Every coordinate that moves has r_hat < 1.01 and ess_bulk > 100 for each chain."""
        good = (self.r_hat < MAX_R_HAT) & (self.ess_bulk > MIN_ESS_PER_CHAIN * self.n_chains)
        return bool(self.moves.any() and good[self.moves].all())

    @property
    def verdict(self) -> str:
        """The same as a sentence."""
        still = int(self.frozen.sum())
        if still == self.frozen.numel():
            return "No coordinate ever changed: the chains give no information."
        ending = f" {still} of {self.frozen.numel()} coordinates never changed." if still else ""
        if self.n_frozen_chains:
            ending += f" {self.n_frozen_chains} of {self.n_chains} chains never moved."
        if self.n_chains == 1:
            return "One chain cannot be compared with others: run at least two." + ending
        enough = MIN_ESS_PER_CHAIN * self.n_chains
        if self.converged:
            return f"The chains agree: r_hat < {MAX_R_HAT} and ess_bulk > {enough}." + ending
        worst, least = self.r_hat[self.moves].max(), self.ess_bulk[self.moves].min()
        faults = []
        if worst >= MAX_R_HAT:
            faults.append(f"r_hat reaches {worst:.3f}, not < {MAX_R_HAT}")
        if least <= enough:
            faults.append(f"ess_bulk falls to {least:.0f}, not > {enough}")
        return f"Not converged: {', and '.join(faults)}." + ending

    def __str__(self) -> str:
        columns = [self.mean, self.sd, self.mcse, self.ess_bulk, self.ess_tail, self.r_hat]
        names = ["mean", "sd", "mcse", "ess_bulk", "ess_tail", "r_hat"]
        shown = min(self.mean.numel(), _ROWS)
        indices = itertools.islice(itertools.product(*map(range, self.mean.shape)), shown)
        values = torch.stack([c.flatten()[:shown] for c in columns], 1)
        rows = [_row("", names)]
        rows += [_row(", ".join(map(str, i)), _texts(row)) for i, row in zip(indices, values)]
        if shown < self.mean.numel():
            rows.append(f"... {self.mean.numel() - shown} more coordinates")
        if self.moves.any():
            least = [c[self.moves].min() for c in (self.ess_bulk, self.ess_tail)]
            worst = self.r_hat[self.moves].max()
            rows.append(_row("worst", ["", "", "", *(f"{n:.0f}" for n in least), f"{worst:.3f}"]))
        return "\n".join([*rows, f"{self.n_draws} draws, {self.n_chains} chains. {self.verdict}"])


def _texts(row: Tensor) -> list[str]:
    mean, sd, mcse, bulk, tail, worst = row.tolist()
    return [f"{mean:.4g}", f"{sd:.4g}", f"{mcse:.2g}", f"{bulk:.0f}", f"{tail:.0f}", f"{worst:.3f}"]


def _row(label: str, cells: list[str]) -> str:
    return f"{label:>10}" + "".join(f"{cell:>11}" for cell in cells)


@names_wrong_types
def summary(samples: Union[Tensor, Any]) -> Summary:
    """Mean, error, effective sizes and R-hat of every coordinate, and whether to trust them.

    Args:
        samples: a trajectory (n_draws, n_chains, ...), or the result of a sampler, which has a
            ``trajectory``.

    Raises:
        TypeError, ValueError: see the module.
    """
    x = getattr(samples, "trajectory", samples)
    if not isinstance(x, Tensor):
        raise TypeError(f"summary: samples must be a tensor or have a trajectory, got {samples!r}")
    if x is not samples and len(x) == 0:
        raise ValueError("summary: the trajectory is empty; sample with thin=1 to keep the states")
    found = [function(x) for function in (mcse_mean, ess_bulk, ess_tail, r_hat)]  # these check x
    draws = x.detach().flatten(0, 1).double()
    still = draws.amax(0) == draws.amin(0)
    sd = draws.std(0).masked_fill(still, 0)
    changed = x.detach().amax(0) != x.detach().amin(0)  # in each chain, (n_chains, ...)
    n_frozen_chains = len(changed) - int(changed.reshape(len(changed), -1).any(1).sum())
    return Summary(
        x.shape[0], x.shape[1], draws.mean(0), sd, *found, ~changed.any(0), n_frozen_chains
    )
