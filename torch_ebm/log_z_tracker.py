"""log Z of a model while it is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor

from ._arguments import as_ladder
from .energy import as_argument
from .log_z_estimate import LogZEstimate

_BUFFERS = (
    *("n_updates", "mean", "covariance", "deviations", "anchored"),
    *("chains", "energies", "log_z_base", "innovation", "ess"),
)


class LogZTracker(torch.nn.Module):
    """log Z of a model while it is trained (Desjardins, Courville & Bengio 2011).

    From the chains that train it: those of :class:`torch_ebm.TemperedPCD`. An update costs energies
    of these chains only::

        tracker = torch_ebm.LogZTracker(rbm, pcd.chains, pcd.betas)
        for batch in data:
            negative = pcd(rbm)
            tracker.update(rbm, pcd.chains, log_z_base)
            log_z = tracker.estimate().log_z
            loss = rbm(batch).mean() + torch_ebm.log_partition(rbm, negative, log_z)

    The loss is then the negative log-likelihood. An update bridges from the parameters of the last
    one to those of now, at every rung, and between neighbouring rungs, down to the last one, whose
    log Z is known. A Kalman filter puts both together over all updates.

    The chains that the gradient was taken from do not err at random in what it changed: a gradient
    step raises the energy exactly where they happen to be, and so the change of log Z that they see
    is too low, every time. The filter therefore tracks each rung's drift, this common error, beside
    log Z. Each step adds to the variance of both that of the estimated change.

    The standard error is not the filter's, which takes the estimates for independent. What each of
    the N ladders brings in goes through the same filter, and it is the spread of the N results: it
    knows how their samples depend on each other, in time and between rungs. It does not know of
    chains that have not reached their laws.

    Everything it knows is in buffers, and the parameters of the last update in ``previous``, so
    that a saved and reloaded tracker goes on bit for bit.

    Args:
        energy: a module; only a copy of it is kept, for the parameters of the last update.
        chains: as those that :meth:`update` will be given, (R, N, ...), N >= 2; only shape, dtype
            and device count.
        betas: (R,), strictly decreasing, as for :func:`torch_ebm.replica_exchange`; not saved.

    Attributes:
        previous: the copy of the energy.
        mean: log Z of the first R - 1 rungs, and the drift of each; a buffer, (2 R - 2,).
        covariance: theirs in the filter, which decides the gain; a buffer.
        deviations: how much ``mean`` is changed by what each ladder brings in, (N, 2 R - 2).
        anchored: the covariance of errors that do not come from the ladders.
        innovation: by how many of their standard errors the bridges between rungs differed from
            what was tracked in the last update, (R - 1,).

    Raises:
        TypeError: ``energy`` is not a module.
        ValueError: chains of another shape, or betas that replica exchange refuses.
    """

    n_updates: Tensor
    mean: Tensor
    covariance: Tensor
    deviations: Tensor
    anchored: Tensor
    innovation: Tensor

    @torch.inference_mode(False)
    def __init__(
        self,
        energy: torch.nn.Module,
        chains: Tensor,
        betas: Union[Tensor, Sequence[float]],
    ) -> None:
        super().__init__()
        if not isinstance(energy, torch.nn.Module):
            raise TypeError(
                f"LogZTracker: energy must be a torch.nn.Module, got {type(energy).__name__}"
            )
        self.betas = as_ladder(betas)
        track = torch.ops.torch_ebm.log_z_track(chains, self.betas)
        for name, tensor in zip(_BUFFERS, track):
            self.register_buffer(name, tensor)
        with torch.no_grad():  # else the copies of a scripted module's parameters have a graph
            self.previous = copy.deepcopy(energy)
        for parameter in self.previous.parameters():
            parameter.requires_grad_(False)

    def _track(self) -> list[Tensor]:
        return [self.get_buffer(name) for name in _BUFFERS]

    def _keep(self, track: list[Tensor]) -> None:
        for buffer, value in zip(self._track(), track):
            buffer.copy_(value)

    @torch.compiler.disable
    @torch.no_grad()
    def update(
        self, energy: torch.nn.Module, chains: Tensor, log_z_base: Union[float, Tensor] = 0.0
    ) -> None:
        """Call it between the negative phase and the step of the optimiser, in every step or less
        often.

        Args:
            energy: the module, with the parameters of now.
            chains: samples of it at every rung, (R, N, ...).
            log_z_base: log Z at the last rung, exactly: (V + H) log 2 of an RBM at beta = 0.

        Raises:
            ValueError: chains of another shape; energies that are NaN; rungs, or parameters before
                and after, that do not overlap. Nothing has changed then.
        """
        with as_argument(energy) as now, as_argument(self.previous) as before:
            track = torch.ops.torch_ebm.track_log_z(
                self._track(), now, before, chains, self.betas, log_z_base=float(log_z_base)
            )
        self.previous.load_state_dict(energy.state_dict())
        self._keep(track)

    @torch.no_grad()
    def anchor(self, estimate: LogZEstimate) -> None:
        """Takes in an estimate of log Z at rung 0, of the parameters of the last update.

        From samples that have nothing to do with the chains: of :func:`torch_ebm.ais`, for example.

        Raises:
            ValueError: before the first update; numbers that are not finite.
        """
        log_z, std_error = float(estimate.log_z), float(estimate.std_error)
        self._keep(torch.ops.torch_ebm.anchor_log_z(self._track(), log_z, std_error))

    @torch.no_grad()
    def estimate(self) -> LogZEstimate:
        """log Z of rung 0, the model, by Student's law of N - 1 degrees of freedom.

        ``ess`` is the least effective number of samples in the overlap of two laws, as
        :func:`torch_ebm.bridge_sampling` has it. Warns if it is below 10, the interval longer than
        2, or the bridges between rungs differ from what was tracked by more than 5 standard errors.

        Raises:
            ValueError: before the first update.
        """
        numbers = torch.ops.torch_ebm.tracked_log_z(self._track())
        warning = torch.ops.torch_ebm.log_z_track_doubt(self._track())
        nothing = numbers[0].new_empty(0)
        return LogZEstimate(*numbers, nothing, self.betas, None, warning)

    def log_z(self) -> Tensor:
        """log Z of all rungs, (R,), float64.

        Raises:
            ValueError: before the first update.
        """
        return torch.ops.torch_ebm.rung_log_z(self._track())
