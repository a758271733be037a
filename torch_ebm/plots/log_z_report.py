"""Estimates of log Z as a page of text and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Union

from torch import Tensor

from ..common._arguments import as_number
from ..common._wrong_types import names_wrong_types
from ..partition.annealing.sandwich import Sandwich
from . import plots

_HEAD = "| temperatures | lower bound | upper bound | both directions | ESS forward | ESS reverse |"


@names_wrong_types
def log_z_report(
    directory: Union[str, os.PathLike],
    budgets: Sequence[int],
    sandwiches: Sequence[Sandwich],
    *,
    exact: Union[float, Tensor, None] = None,
) -> str:
    """Reports on log Z: writes ``report.md``, with numbers and warnings, and three figures.

    The figures are ``sandwich.png`` and, for the largest budget, ``stage_ess.png`` and
    ``weights.png``: see :mod:`torch_ebm.plots`.

    Args:
        directory: created if it is missing.
        budgets, sandwiches, exact: as for ``plots.sandwich``.

    Returns:
        The text.

    Raises:
        ValueError: as ``plots.sandwich``.
        ImportError: matplotlib is missing.
    """
    pictures = {"sandwich": plots.sandwich(budgets, sandwiches, exact=exact)}
    best = max(zip(budgets, sandwiches), key=lambda pair: pair[0])[1]
    pictures["stage_ess"] = plots.stage_ess(best.forward)
    pictures["weights"] = plots.ais_weights(best.forward, exact=exact)
    text = _text(sorted(zip(budgets, sandwiches), key=lambda pair: pair[0]), exact)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png")
        text += f"\n![{name}]({name}.png)\n"
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def _text(rows: Sequence[tuple[int, Sandwich]], exact: Union[float, Tensor, None]) -> str:
    lines = ["# log Z", "", _HEAD, "| ---: " * 6 + "|"]
    lines += [_row(budget, sandwich) for budget, sandwich in rows]
    if exact is not None:
        lines += ["", f"Exact: {as_number(exact):.4f}."]
    if not all(sandwich.exact_samples for _, sandwich in rows):
        lines += ["", "The upper bound holds only as far as the chains have mixed."]
    warnings = [f"- {budget}: {text}" for budget, sandwich in rows for text in _warnings(sandwich)]
    return "\n".join([*lines, *(["", *warnings] if warnings else []), ""])


def _row(budget: int, sandwich: Sandwich) -> str:
    estimates = (sandwich.forward, sandwich.reverse, sandwich.bridge)
    cells = [f"{e.log_z:.4f} [{e.lower:.4f}, {e.upper:.4f}]" for e in estimates]
    sizes = [f"{e.ess:.1f} of {len(e.log_weights)}" for e in estimates[:2]]
    return "| " + " | ".join([str(budget), *cells, *sizes]) + " |"


def _warnings(sandwich: Sandwich) -> list[str]:
    named = {
        "lower bound": sandwich.forward.warning,
        "upper bound": sandwich.reverse.warning,
        "both directions": sandwich.bridge.warning,
        "bounds": sandwich.warning,
    }
    return [f"{name}: {text}" for name, text in named.items() if text]
