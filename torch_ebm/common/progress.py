"""Progress bars and Ctrl-C for long-running operators."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Optional

import torch
from tqdm import tqdm

from .. import _library  # noqa: F401  (defines the operator implemented here)

_enabled = False
_bar: Optional[tqdm] = None


@contextlib.contextmanager
def progress_bar() -> Iterator[None]:
    """Inside the ``with`` block, operators that run longer than 0.1 s show a tqdm bar.

    Ctrl-C stops an operator within a step, with or without a bar.
    """
    global _enabled, _bar
    before, _enabled = _enabled, True
    try:
        yield
    finally:
        _enabled = before
        if _bar is not None:
            _bar.close()
            _bar = None


def bars_are_shown() -> bool:
    """Whether a :func:`progress_bar` is active."""
    return _enabled


def _progress(operation: str, done: int, total: int) -> None:
    # Called at most ten times a second. The call itself lets Python notice Ctrl-C: the interpreter
    # raises KeyboardInterrupt here, and the operator passes it on.
    global _bar
    if not _enabled:
        return
    if _bar is None or (_bar.desc, _bar.total) != (operation, total) or done < _bar.n:
        if _bar is not None:
            _bar.close()
        _bar = tqdm(total=total, desc=operation, leave=False)
    _bar.update(done - _bar.n)


_implementations = torch.library.Library("torch_ebm", "IMPL")
_implementations.impl("_progress", _progress, "CompositeImplicitAutograd")
