"""Plots of log Z estimates, public in ``torch_ebm.plots``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

from torch import Tensor

from ..common._arguments import as_number
from ..common._wrong_types import names_wrong_types
from ..partition.annealing.sandwich import Sandwich
from ..partition.log_z_estimate import LogZEstimate
from ._drawing import BLUE, GREY, INK, RED, light, make_figure, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ais_weights(
    estimate: LogZEstimate,
    *,
    exact: Union[float, Tensor, None] = None,
    title: Optional[str] = None,
) -> Figure:
    """Histogram of AIS weights, each as the log Z it implies, with the estimate and its interval.

    Do not trust the estimate if the histogram is much wider than 1 nat, or if one chain lies far to
    the right of all others.

    Args:
        exact: log Z, if known.

    Raises:
        ImportError: matplotlib is missing.
    """
    # log_z = log mean weight + log_z_base.
    weights = estimate.log_weights.double().cpu()
    log_mean = weights.logsumexp(0) - math.log(len(weights))
    each = (weights - log_mean + estimate.log_z.cpu()).numpy()
    figure = make_figure(6.4, 3.8)
    axes = figure.add_subplot()
    n_bins = max(10, min(60, int(2 * len(each) ** 0.5)))
    axes.hist(each, bins=n_bins, color=BLUE, alpha=0.55, label=f"{len(each)} chains")
    lower, upper, middle = (float(t) for t in (estimate.lower, estimate.upper, estimate.log_z))
    axes.axvspan(lower, upper, color=RED, alpha=0.2, linewidth=0)
    axes.axvline(middle, color=RED, label=f"AIS {middle:.3f}, 95% [{lower:.3f}, {upper:.3f}]")
    if exact is not None:
        known = as_number(exact)
        axes.axvline(known, color=INK, linestyle=":", label=f"exact {known:.3f}")
    axes.set_xlabel("log weight + log Z of the base")
    axes.set_ylabel("chains")
    top = axes.get_ylim()[1]
    axes.set_ylim(0, top * 1.35)  # room for the legend
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_title(
        f"ESS {float(estimate.ess):.1f} of {len(each)}", fontsize=8, color=GREY, loc="right"
    )
    light(axes)
    set_title(figure, title or "Annealed importance sampling: log Z by chain")
    return figure


@names_wrong_types
def sandwich(
    budgets: Sequence[float],
    sandwiches: Sequence[Sandwich],
    *,
    exact: Union[float, Tensor, None] = None,
    title: Optional[str] = "log Z between its bounds",
) -> Figure:
    """Lower and upper bounds on log Z, with 95% intervals, against the number of temperatures.

    Where they meet, the annealing is slow enough. The legend marks upper bounds that rest on
    samples that are not exact.

    Args:
        budgets: the number of temperatures of each of ``sandwiches``, positive.
        exact: log Z, if known.

    Raises:
        ValueError: no budgets, a budget that is not positive, or a number of budgets other than
            that of sandwiches.
        ImportError: matplotlib is missing.
    """
    if len(budgets) != len(sandwiches) or len(budgets) == 0 or not min(budgets) > 0:
        raise ValueError(
            f"plots: budgets must hold one positive number for each of the {len(sandwiches)}"
            f" sandwiches, got {list(budgets)}"
        )
    inexact = not all(s.exact_samples for s in sandwiches)
    upper = "reverse AIS, upper bound" + (" if the chains have mixed" if inexact else "")
    figure = make_figure(6.4, 3.8)
    axes = figure.add_subplot()
    # Shifted sideways a little, so that all intervals are visible.
    left, right = ([b * shift for b in budgets] for shift in (0.96, 1.04))
    _bound(axes, right, [s.reverse for s in sandwiches], RED, upper)
    _bound(axes, budgets, [s.bridge for s in sandwiches], INK, "both directions")
    _bound(axes, left, [s.forward for s in sandwiches], BLUE, "AIS, lower bound")
    if exact is not None:
        known = as_number(exact)
        axes.axhline(known, color=GREY, linestyle=":", label=f"exact {known:.3f}")
    axes.set_xscale("log")
    axes.set_xlabel("temperatures")
    axes.set_ylabel("log Z")
    axes.legend(frameon=False, fontsize=8)
    light(axes)
    set_title(figure, title)
    return figure


def _bound(
    axes: Any, budgets: Sequence[float], estimates: Sequence[LogZEstimate], colour: str, label: str
) -> None:
    points = sorted(
        (budget, float(e.log_z), float(e.lower), float(e.upper))
        for budget, e in zip(budgets, estimates)
    )
    x, middle, lower, upper = zip(*points)
    arms = [[m - low for m, low in zip(middle, lower)], [up - m for m, up in zip(middle, upper)]]
    axes.errorbar(
        x, middle, arms, color=colour, marker="o", markersize=3, linewidth=1, capsize=2, label=label
    )


def stage_ess(estimate: LogZEstimate, *, title: Optional[str] = None) -> Figure:
    """Effective number of chains along the path, against beta: where it falls, the path is steep.

    Raises:
        ValueError: an estimate without a path.
        ImportError: matplotlib is missing.
    """
    if estimate.betas is None or estimate.stage_ess is None:
        raise ValueError("plots: estimate must have betas and stage_ess, as ais returns them")
    figure = make_figure(6.4, 3.8)
    axes = figure.add_subplot()
    betas = estimate.betas[1:].cpu().numpy()
    axes.plot(betas, estimate.stage_ess.cpu().numpy(), color=BLUE, linewidth=1.6)
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_xlabel("inverse temperature")
    axes.set_ylabel("effective chains")
    axes.set_ylim(bottom=0.9)
    at_end = f"{float(estimate.stage_ess[-1]):.1f} at the end"
    axes.set_title(at_end, fontsize=8, color=GREY, loc="right")
    light(axes)
    set_title(figure, title or "Effective number of chains along the path")
    return figure
