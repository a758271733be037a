"""Detects training that goes wrong, and explains why."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from . import _library  # noqa: F401


class TrainingWarning(UserWarning):
    """Training is going wrong; the text says how, why, and what to do."""


class TrainingMonitor:
    """Call :meth:`update` after every gradient and :meth:`end_epoch` after every epoch.

    Detects energies that are not finite, an exploding energy gap (more than 3 standard deviations
    of the energies), frozen chains (fewer than 1% move in an update) and collapsed chains (which
    vary less than 0.05 times as much as the data).
    """

    def __init__(self) -> None:
        self._monitor = torch.classes.torch_ebm.TrainingMonitor()

    def update(
        self,
        positive_energies: Tensor,
        negative_energies: Tensor,
        positive: Tensor,
        negative: Tensor,
        start: Tensor,
    ) -> None:
        """Examines one update.

        Args:
            positive_energies, negative_energies: of the data and of the negative samples, (N,),
                (M,).
            positive: the data, (N, ...).
            negative: the negative samples, (M, ...).
            start: the states that their chains started from, like ``negative``.

        Raises:
            RuntimeError: an energy is not finite; the text names it, the update, the likely cause
                and the remedy.
        """
        self._monitor.update(positive_energies, negative_energies, positive, negative, start)

    def end_epoch(self) -> list[str]:
        """Issues a :class:`TrainingWarning` for every problem of the epoch; returns the texts."""
        found = self._monitor.end_epoch()
        for text in found:
            warnings.warn(text, TrainingWarning, stacklevel=2)
        return found

    def state_dict(self) -> dict[str, list[float]]:
        """The whole state."""
        return {"state": self._monitor.state()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self._monitor.set_state(state["state"])
