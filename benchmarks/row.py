"""A workload and its contenders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Contender:
    """One way to do the work of a row. ``build()`` prepares it (ImportError: not installed) and
    returns the call to time."""

    name: str
    build: Callable[[], Callable[[], Any]]
    #: Does only a part of the work, as a bound on what is possible, and has no result to check.
    is_limit: bool = False


@dataclass
class Row:
    """A workload. The first contender is ours; every other is compared with it."""

    name: str
    title: str
    unit: str
    units_per_call: float
    contenders: Sequence[Contender]
    #: Raises AssertionError if a contender's result is wrong; given ours, then theirs.
    check: Callable[[Any, Any], None]
    rounds: int = 15
    #: The target: the smallest acceptable ratio to ours, by contender.
    targets: dict[str, float] = field(default_factory=dict)
