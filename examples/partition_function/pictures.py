"""The figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch_ebm

from estimates import Point, Row
from from_digits import Digits, samples
from models import file_stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_SAMPLES = 10
CHAIN_STEPS = 1000


def write(
    folder: Path,
    digits: Digits,
    models: dict[str, torch_ebm.RBM],
    rows: list[Row],
    convergence: dict[str, list[Point]],
) -> None:
    """Writes all figures as PNG files; AIS weights are those of the last row of every model."""
    shape = digits.image_shape
    weights = torch.cat([models[name].weight for name in convergence], dim=1)
    figures = {
        "convergence": draw_convergence(convergence),
        "filters": torch_ebm.plots.filters(
            weights,
            shape,
            n_columns=weights.size(1) // len(convergence),
            title="Weights of " + ", ".join(convergence),
        ),
        "samples": draw_samples(digits, models),
    }
    for row in rows:
        figures[f"weights_{file_stem(row.model)}"] = torch_ebm.plots.ais_weights(
            row.ais, exact=row.log_z, title=f"{row.model}: log Z by chain"
        )
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")


def draw_samples(digits: Digits, models: dict[str, torch_ebm.RBM]) -> Figure:
    """One column of data, and one of samples for every model."""
    columns = [digits.test[:N_SAMPLES]]
    columns += [samples(rbm, N_SAMPLES, CHAIN_STEPS, seed=0) for rbm in models.values()]
    return torch_ebm.plots.images(
        torch.stack(columns, dim=1).flatten(0, 1),
        digits.image_shape,
        n_columns=len(columns),
        column_labels=["test data", *models],
        title=f"Samples: p(v | h) after {CHAIN_STEPS:,} Gibbs steps from noise",
    )


def draw_convergence(convergence: dict[str, list[Point]]) -> Figure:
    """Errors of the estimates, with their intervals, against the number of temperatures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(convergence), 3.6), layout="constrained", dpi=150)
    every = figure.subplots(1, len(convergence), sharey=True, squeeze=False)[0]
    for axes, (model, points) in zip(every, convergence.items()):
        schedules = dict.fromkeys(point.schedule for point in points)
        for i, schedule in enumerate(schedules):
            mine = [point for point in points if point.schedule == schedule]
            axes.errorbar(
                [p.n_temperatures * 1.08**i for p in mine],  # side by side
                [p.error for p in mine],
                [[p.error - p.lower for p in mine], [p.upper - p.error for p in mine]],
                fmt="o-",
                markersize=3,
                linewidth=0.8,
                capsize=2,
                label=schedule,
            )
        axes.axhline(0, color="black", linewidth=0.8, linestyle=":", label="exact")
        axes.set_xscale("log")
        axes.set(title=model, xlabel="temperatures")
    every[0].set_ylabel("AIS - exact log Z, nats")
    every[0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure
