"""What all plots share: matplotlib, if it is installed, and the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#22303c"
BLUE = "#2f6f9f"
RED = "#c8553d"
GREY = "#8a949c"


def matplotlib_module() -> Any:
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(
            "torch_ebm.plots needs matplotlib: pip install 'torch_ebm[plots]'"
        ) from error
    return matplotlib


def make_figure(width: float, height: float) -> Figure:
    return matplotlib_module().figure.Figure(figsize=(width, height), layout="constrained", dpi=150)


def set_title(figure: Figure, title: Optional[str]) -> None:
    if title:
        figure.suptitle(title, color=INK, fontsize=11)


def light(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
