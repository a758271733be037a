"""Plots of models, samples and estimates. Needs matplotlib: ``pip install torch_ebm[plots]``.

Every function returns a :class:`matplotlib.figure.Figure` with no window and no global state: save
it with ``figure.savefig(path)``, or let a notebook show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import torch
from torch import Tensor

from ._drawing import BLUE, GREY, INK, RED, light, make_figure, matplotlib_module, set_title
from ._log_z_plots import ais_weights, sandwich, stage_ess
from ._trace_plot import plot_trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ais_weights",
    "filters",
    "images",
    "plot_trace",
    "sandwich",
    "stage_ess",
    "training_curve",
]

_PAPER = "#f0f1f3"
_HIDDEN = "#f3d9a4"  # unknown pixels


def _as_images(x: Tensor, image_shape: Sequence[int]) -> Tensor:
    height, width = image_shape
    x = x.detach().cpu().double()
    if x.dim() != 2 or x.size(1) != height * width or len(x) == 0:
        raise ValueError(
            f"plots: expected images of shape (N, {height * width}) for image_shape"
            f" {(height, width)}, got {tuple(x.shape)}"
        )
    return x.reshape(-1, height, width)


def _as_colour_images(x: Tensor, image_shape: Sequence[int]) -> Tensor:
    """The images (N, 3, h, w)."""
    channels, height, width = image_shape
    size = channels * height * width
    if channels != 3 or x.dim() < 2 or len(x) == 0 or x[0].numel() != size:
        raise ValueError(
            f"plots: expected images of shape (N, 3, height, width) for image_shape"
            f" (3, height, width), got {tuple(x.shape)} for {tuple(image_shape)}"
        )
    return x.detach().cpu().double().reshape(-1, 3, height, width)


def _mosaic(x: Tensor, n_columns: int, gap: int) -> Tensor:
    """The images (N, h, w) as one image, in rows of ``n_columns``; NaN between them."""
    n, height, width = x.shape
    n_rows = math.ceil(n / n_columns)
    out = torch.full(
        (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap), math.nan
    ).double()
    for i in range(n):
        top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
        out[top : top + height, left : left + width] = x[i]
    return out


def _colours(values: Tensor, colour_map: Any, lowest: float, highest: float) -> Tensor:
    """Values as colours (..., 3); NaN becomes white."""
    scaled = (values - lowest) / (highest - lowest)
    colours = torch.from_numpy(colour_map(scaled.nan_to_num(0).numpy())[..., :3].copy())
    colours[values.isnan()] = 1
    return colours


def _columns(n: int, n_columns: Optional[int]) -> int:
    if n_columns is None:
        return math.ceil(math.sqrt(n))
    if n_columns < 1:
        raise ValueError(f"plots: n_columns must be at least 1, got {n_columns}")
    return min(n_columns, n)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _grid(colours: Tensor, n_columns: int, right: float = 0.2) -> tuple[Figure, Any]:
    """A figure of the mosaic ``colours``, with half an inch or more for each image.

    Args:
        right: inches to leave free to the right of the mosaic.
    """
    width = n_columns * max(0.55, min(1.0, 8 / n_columns))
    height = width * colours.shape[0] / colours.shape[1]
    figure = make_figure(max(width, 3) + right, height + 0.6)
    axes = figure.add_subplot()
    axes.imshow(colours.numpy(), interpolation="nearest")
    _bare(axes)
    return figure, axes


def filters(
    weight: Tensor,
    image_shape: Sequence[int],
    *,
    n_columns: Optional[int] = None,
    title: Optional[str] = "Learned filters",
) -> Figure:
    """What every hidden unit looks for: the columns of an RBM's ``weight`` (V, H), as images.

    Red raises the unit's input and blue lowers it; all filters share one scale, shown beside them.

    Args:
        image_shape: (height, width), with height * width = V.

    Raises:
        ValueError: shapes that do not fit.
        ImportError: matplotlib is missing.
    """
    x = _as_images(weight.t(), image_shape)
    n_columns = _columns(len(x), n_columns)
    mosaic = _mosaic(x, n_columns, gap=max(1, image_shape[1] // 10))
    limit = float(x.abs().max()) or 1.0
    colour_map = matplotlib_module().colormaps["RdBu_r"]
    figure, axes = _grid(_colours(mosaic, colour_map, -limit, limit), n_columns, right=0.9)
    mpl = matplotlib_module()
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-limit, limit), colour_map)
    bar = figure.colorbar(scale, ax=axes, shrink=0.8, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=INK)
    set_title(figure, title)
    return figure


def images(
    x: Tensor,
    image_shape: Sequence[int],
    *,
    n_columns: Optional[int] = None,
    column_labels: Optional[Sequence[str]] = None,
    title: Optional[str] = None,
) -> Figure:
    """A grid of images, such as samples: 0 is nearly white, 1 black, NaN (unknown) yellow.

    Images in colour are drawn as they are, from 0, dark, to 1.

    Args:
        x: (N, height * width), NaN or between 0 and 1; other values are clamped to this range. In
            colour (N, 3, height, width), or flattened, (N, 3 * height * width).
        image_shape: (height, width), or (3, height, width) for red, green and blue.
        n_columns: default: about as many as rows.
        column_labels: one label above every column.

    Raises:
        ValueError: shapes that do not fit.
        ImportError: matplotlib is missing.
    """
    in_colour = len(image_shape) == 3
    if in_colour:
        pictures = _as_colour_images(x, image_shape)
        image_shape = image_shape[1:]
    else:
        pictures = _as_images(x, image_shape)
    n_columns = _columns(len(pictures), n_columns)
    if column_labels is not None and len(column_labels) != n_columns:
        raise ValueError(
            f"plots: column_labels must hold {n_columns} texts, got {len(column_labels)}"
        )
    gap = max(1, image_shape[1] // 8)
    height, width = image_shape
    # Both gaps and hidden pixels are NaN: a second mosaic tells them apart.
    unknown = pictures.isnan().any(1) if in_colour else pictures.isnan()
    hidden = _mosaic(unknown.double(), n_columns, gap) == 1
    known = pictures.nan_to_num(0).clamp(0, 1)
    mpl = matplotlib_module()
    if in_colour:
        channels = [_mosaic(channel, n_columns, gap) for channel in known.unbind(1)]
        colours = torch.stack(channels, -1).nan_to_num(1)
    else:
        grey = mpl.colors.LinearSegmentedColormap.from_list("paper", [_PAPER, "black"])
        colours = _colours(_mosaic(known, n_columns, gap), grey, 0, 1)
    colours[hidden] = torch.tensor(mpl.colors.to_rgb(_HIDDEN)).double()
    figure, axes = _grid(colours, n_columns)
    if column_labels is not None:
        axes.xaxis.tick_top()
        axes.set_xticks(
            [i * (width + gap) + (width - 1) / 2 for i in range(n_columns)],
            column_labels,
            fontsize=8,
            color=INK,
        )
        axes.tick_params(length=0)
    set_title(figure, title)
    return figure


def training_curve(
    epochs: Sequence[float],
    train: Sequence[float],
    test: Optional[Sequence[float]] = None,
    *,
    baseline: Optional[float] = None,
    baseline_label: str = "independent units",
    title: Optional[str] = "Mean log-probability during training",
) -> Figure:
    """Mean log-probability of the training data and of held-out data, during training.

    Args:
        baseline: a value to beat, drawn as a dashed line.

    Raises:
        ValueError: series of different lengths, or empty ones.
        ImportError: matplotlib is missing.
    """
    series = {"train": train} if test is None else {"train": train, "test": test}
    for name, values in series.items():
        if len(values) != len(epochs) or len(epochs) == 0:
            raise ValueError(
                f"plots: {name} must hold one value for each of the {len(epochs)} epochs,"
                f" got {len(values)}"
            )
    figure = make_figure(6.4, 3.8)
    axes = figure.add_subplot()
    if baseline is not None:
        axes.axhline(baseline, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"{baseline_label} {baseline:.2f}",
            (1, baseline),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=GREY,
        )
    for (name, values), colour in zip(series.items(), (BLUE, RED)):
        label = f"{name}, at the end {values[-1]:.2f}"
        axes.plot(epochs, values, color=colour, linewidth=1.6, label=label)
        axes.plot(epochs[-1:], values[-1:], "o", color=colour, markersize=4)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per example")
    axes.grid(axis="y", color=GREY, alpha=0.2)
    axes.legend(frameon=False, fontsize=9, loc="center right")
    light(axes)
    set_title(figure, title)
    return figure
