"""The plot of a trajectory, public as ``torch_ebm.plots.plot_trace``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from torch import Tensor

from ..diagnostics import autocorrelation, autocorrelation_time, r_hat
from ._drawing import BLUE, GREY, INK, RED, light, make_figure, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_CHAINS = 8


def plot_trace(
    trajectory: Tensor,
    coordinates: Optional[Sequence[int]] = None,
    *,
    max_lag: int = 100,
    title: Optional[str] = None,
) -> Figure:
    """Traces of coordinates of a trajectory, each beside its autocorrelation.

    Chains that agree look the same; an autocorrelation that has not fallen to 0 by the right end
    means fewer effective draws than there seem to be.

    Args:
        trajectory: (n_draws, n_chains, ...), as the diagnostics take it; the first 8 chains are
            drawn.
        coordinates: indices of coordinates, in row-major order. Default: the first three.
        max_lag: the largest lag drawn, or the largest there is, if there are fewer draws.

    Raises:
        TypeError, ValueError: a trajectory that the diagnostics reject, coordinates out of range,
            or max_lag < 1.
        ImportError: matplotlib is missing.
    """
    if trajectory.dim() < 2:
        raise ValueError(
            f"plots: trajectory must have shape (n_draws, n_chains, ...),"
            f" got {tuple(trajectory.shape)}"
        )
    n_coordinates = math.prod(trajectory.shape[2:])
    if coordinates is None:
        coordinates = range(min(3, n_coordinates))
    if len(coordinates) == 0 or not all(0 <= i < n_coordinates for i in coordinates):
        raise ValueError(
            f"plots: coordinates must be numbers from 0 to {n_coordinates - 1},"
            f" got {list(coordinates)}"
        )
    if max_lag < 1:
        raise ValueError(f"plots: max_lag must be at least 1, got {max_lag}")
    draws = trajectory.detach().reshape(*trajectory.shape[:2], n_coordinates)
    chosen = draws[:, :, list(coordinates)].cpu()
    rho, times, agreements = autocorrelation(chosen), autocorrelation_time(chosen), r_hat(chosen)
    figure = make_figure(8, 0.8 + 1.6 * len(coordinates))
    axes = figure.subplots(len(coordinates), 2, squeeze=False, width_ratios=[2, 1], sharex="col")
    for row, i in enumerate(coordinates):
        _trace(axes[row, 0], chosen[:, :_MAX_CHAINS, row], f"coordinate {i}")
        axes[row, 0].set_title(f"r_hat {agreements[row]:.3f}", fontsize=8, color=GREY, loc="right")
        _correlogram(axes[row, 1], rho[: max_lag + 1, row])
        axes[row, 1].set_title(f"time {times[row]:.1f}", fontsize=8, color=GREY, loc="right")
    axes[-1, 0].set_xlabel("draw")
    axes[-1, 1].set_xlabel("lag")
    set_title(figure, title)
    return figure


def _trace(axes: Any, chains: Tensor, label: str) -> None:
    shades = [BLUE, RED, INK, GREY]
    for i, chain in enumerate(chains.double().numpy().T):
        axes.plot(chain, color=shades[i % len(shades)], linewidth=0.7, alpha=0.7)
    axes.set_ylabel(label, fontsize=8)
    light(axes)


def _correlogram(axes: Any, rho: Tensor) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.vlines(range(len(rho)), 0, rho.numpy(), color=BLUE, linewidth=1.2)
    axes.set_ylim(min(-0.1, float(rho.nan_to_num(0).min())), 1.05)
    light(axes)
