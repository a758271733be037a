"""Detects training that goes wrong, and explains why."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._wrong_types import names_wrong_types


class TrainingWarning(UserWarning):
    """Training is going wrong; the text says how, why, and what to do."""


class TrainingMonitor:
    """Call :meth:`update` after every gradient and :meth:`end_epoch` after every epoch.

    Detects

    * energies that are not finite, at once;
    * an exploding energy gap between data and negative samples: more than 3 standard deviations of
      the energies of the data, 10 nats, and 3 nats times the square root of the number of units;
    * a gap that swings from side to side, or negative samples that stay lower in energy than the
      data, by more than a standard deviation;
    * an energy that is constant, so that there is no gradient;
    * frozen chains: fewer than 1% move in an update;
    * collapsed chains, which vary less than 0.05 times as much as the data, and chains that ran
      away, which vary more than 100 times as much;
    * chains stuck at bounds: a quarter of their numbers are the largest or smallest one, and twice
      as many as in the data.

    The last updates of an epoch count most, each 1 / 0.95 times as much as the one before.
    docs/criteria.md says how often it is right.
    """

    def __init__(self) -> None:
        self._monitor = torch.classes.torch_ebm.TrainingMonitor()

    @names_wrong_types
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

    def measures(self) -> dict[str, float]:
        """What the warnings are based on, for logging: of the epoch so far or, after
        :meth:`end_epoch`, of the last one; NaN before the first update.

        * ``updates``: since training began;
        * ``gap``: mean energy of the negative samples minus that of the data; ``absolute_gap``: the
          mean of its size; ``spread``: standard deviation of the energies of the data;
        * ``moved``: fraction of the chains that moved in an update;
        * ``variance_ratio``: variance of the negative samples over that of the data;
        * ``chains_at_edge``, ``data_at_edge``: fraction of the numbers that are the largest or the
          smallest one.

        The acceptance rate of the sampler is ``acceptance_rate`` of the negative phase.
        """
        return self._monitor.measures()

    def state_dict(self) -> dict[str, list[float]]:
        """The whole state."""
        return {"state": self._monitor.state()}

    @names_wrong_types
    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self._monitor.set_state(state["state"])
