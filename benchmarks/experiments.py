"""The experiments of known_errors.py, and their table."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

import torch_ebm

SEED = 1


@dataclass(frozen=True)
class Run:
    """One library's value of a statistic. ``package`` is the one whose version is reported."""

    what: str
    package: str
    value: Callable[[], float]


@dataclass(frozen=True)
class Experiment:
    title: str
    statistic: str
    #: The value for a correct sampler.
    right: str
    runs: Sequence[Run]


def version(package: str) -> str:
    return torch_ebm.__version__ if package == "torch_ebm" else importlib.metadata.version(package)


def table(experiments: Sequence[Experiment]) -> str:
    lines = [
        "| experiment | statistic | right | library | sampler | value |",
        "| --- | --- | --- | --- | --- | ---: |",
    ]
    for e in experiments:
        cells = f"| {e.title} | {e.statistic} | {e.right} "
        for run in e.runs:
            torch.manual_seed(SEED)
            try:
                library, value = f"{run.package} {version(run.package)}", f"{run.value():.4g}"
            except ImportError:
                library, value = run.package, "skipped: not installed"
            lines.append(f"{cells}| {library} | {run.what} | {value} |")
            cells = "| | | "
    return "\n".join(lines)
