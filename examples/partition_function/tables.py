"""The table of results, and a file of its numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Optional

import torch_ebm

from estimates import LogProbability, Point, Row
from from_digits import FEW_CHAINS, Digits

_WIDTHS = (13, 6, 9, 9, 20, 7, 9, 9, 9, 9)
_TITLES = (
    *("model", "chains", "log Z", "AIS", "95% interval", "ESS"),
    *("test", "by AIS", "train", "by AIS"),
)

#: Model, log Z, AIS, interval (3 sigma), test, train. Salakhutdinov & Murray (2008), Table 1; the
#: exact values of CD1(20): Grosse et al. (2013), Burda et al. (2015).
_PUBLISHED = (
    ("CD1(20)", "279.59", "", "", "-164.50", "", "", ""),
    ("CD1(500)", "", "350.15", "", "", "-125.53", "", "-122.86"),
    ("CD3(500)", "", "280.09", "", "", "-105.50", "", "-102.81"),
    ("CD25(500)", "", "451.28", "[450.97, 451.52]", "", "-86.34", "", "-83.10"),
)


def _line(cells: tuple[str, ...]) -> str:
    model, *numbers = cells
    columns = [model.ljust(_WIDTHS[0]), *map(str.rjust, numbers, _WIDTHS[1:])]
    return f"| {' | '.join(columns)} |"


def heading() -> str:
    """The first two lines of the table."""
    rule = ("-" * _WIDTHS[0], *("-" * (width - 1) + ":" for width in _WIDTHS[1:]))
    return f"{_line(_TITLES)}\n{_line(rule)}"


def few_chains(ais: torch_ebm.LogZEstimate) -> bool:
    return bool(ais.ess < FEW_CHAINS * len(ais.log_weights))


def line(row: Row) -> str:
    """A row of the table."""
    ais = row.ais
    pairs = [
        (getattr(row.exact, part, None), getattr(row.by_ais, part)) for part in ("test", "train")
    ]
    return _line(
        (
            row.model,
            str(len(ais.log_weights)),
            _number(row.log_z),
            _number(ais.log_z.item()),
            f"[{ais.lower:.2f}, {ais.upper:.2f}]",
            f"{ais.ess:.1f}{'*' if few_chains(ais) else ' '}",
            *(_number(value) for pair in pairs for value in pair),
        )
    )


def _number(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.2f}"


def notes(n_temperatures: int, digits: Digits, independent: LogProbability) -> str:
    """The notes below the table: how to read it, and the published one."""
    published = "\n".join(
        _line((name, "", log_z, ais, interval, "", *probabilities))
        for name, log_z, ais, interval, *probabilities in _PUBLISHED
    )
    return f"""
CDk(H) has H hidden units and was trained by CD-k. Mean log-probabilities of test and training
images, in nats: with the exact log Z, and by AIS.
{digits.name}: {len(digits.train)} training and {len(digits.test)} test images.
AIS: {n_temperatures:,} temperatures, with its 95% interval.
Independent pixels: test {independent.test:.2f}, train {independent.train:.2f}.
* Fewer than {FEW_CHAINS:.0%} of the chains are effective: the interval may be too short.

Published results for all of MNIST (60,000 training images, binarised at random): different data and
models, so only a qualitative comparison. Intervals of 3 standard deviations.

{heading()}
{published}"""


def write_numbers(
    path: Path,
    rows: list[Row],
    convergence: dict[str, list[Point]],
    independent: LogProbability,
) -> None:
    """All results, as JSON."""
    content = {
        "rows": [_as_numbers(row) for row in rows],
        "independent_pixels": asdict(independent),
        "convergence": {name: [asdict(p) for p in points] for name, points in convergence.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _as_numbers(row: Row) -> dict[str, object]:
    ais = {name: getattr(row.ais, name).item() for name in ("log_z", "lower", "upper", "ess")}
    return {**asdict(row), "ais": ais, "chains": len(row.ais.log_weights)}
