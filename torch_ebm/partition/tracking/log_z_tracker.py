"""log Z of a model during training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Union

import torch
from torch import Tensor

from ...common._arguments import as_ladder
from ...common._wrong_types import names_wrong_types
from ...energy.energy import as_argument
from ...learning._own_state import OwnState
from ..log_z_estimate import LogZEstimate

_TENSORS = (
    *("n_updates", "mean", "covariance", "deviations", "anchored"),
    *("chains", "energies", "log_z_base", "innovation", "ess"),
)


class LogZTracker(OwnState):
    """log Z of a model during training (Desjardins, Courville & Bengio 2011).

    It is tracked with the chains that train the model, those of :class:`torch_ebm.TemperedPCD`. An
    update costs only energies of these chains::

        tracker = torch_ebm.LogZTracker(rbm, pcd.chains, pcd.betas)
        for batch in data:
            negative = pcd(rbm)
            tracker.update(rbm, pcd.chains, log_z_base)
            log_z = tracker.estimate().log_z
            loss = rbm(batch).mean() + torch_ebm.log_partition(rbm, negative, log_z)

    The loss is then the negative log-likelihood. An update bridges, at every rung, from the
    parameters of the last update to the current ones. It also bridges between neighbouring rungs,
    down to the last one, whose log Z is known. A Kalman filter combines both over all updates.

    The chains that gave the gradient have a systematic error in the change that it makes: a
    gradient step raises the energy exactly where they happen to be, and so the change of log Z that
    they see is always too low. The filter therefore tracks each rung's drift, this common error,
    beside log Z. Each step adds the variance of the estimated change to that of both.

    The standard error is not that of the filter, which treats the estimates as independent. The
    contribution of each of the N ladders goes through the same filter, and the standard error is
    the spread of the N results. It thus accounts for the dependence of their samples, in time and
    between rungs. It does not account for chains that have not converged.

    The whole state is in the state dict, the parameters of the last update in ``previous``, so that
    a saved and reloaded tracker continues bit for bit. In distributed training every process tracks
    log Z by its own chains: like these, the state is in no buffers, which DistributedDataParallel
    would overwrite with those of rank 0.

    Args:
        energy: a module; only a copy of it is kept, for the parameters of the last update.
        chains: like those that :meth:`update` will be given, (R, N, ...), N >= 2; only shape, dtype
            and device count.
        betas: (R,), strictly decreasing, as for :func:`torch_ebm.replica_exchange`; not saved.

    Attributes:
        previous: the copy of the energy.
        mean: log Z of the first R - 1 rungs, and the drift of each, (2 R - 2,).
        covariance: the filter's covariance of ``mean``, which sets the gain.
        deviations: the change of ``mean`` by the contribution of each ladder, (N, 2 R - 2).
        anchored: the covariance of errors that do not come from the ladders.
        innovation: by how many of their standard errors the bridges between rungs differed from
            the tracked values in the last update, (R - 1,).

    Raises:
        TypeError: ``energy`` is not a module.
        ValueError: chains of another shape, or betas that replica exchange rejects.
    """

    n_updates: Tensor
    mean: Tensor
    covariance: Tensor
    deviations: Tensor
    anchored: Tensor
    innovation: Tensor

    @torch.inference_mode(False)
    @names_wrong_types
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
        for name, tensor in zip(_TENSORS, track):
            self._set_own(name, tensor)
        with torch.no_grad():  # otherwise the copied parameters of a scripted module have a graph
            self.previous = copy.deepcopy(energy)
        for parameter in self.previous.parameters():
            parameter.requires_grad_(False)

    def _track(self) -> list[Tensor]:
        return self.own_tensors()

    def _keep(self, track: list[Tensor]) -> None:
        for tensor, value in zip(self._track(), track):
            tensor.copy_(value)

    @torch.compiler.disable
    @torch.no_grad()
    @names_wrong_types
    def update(
        self, energy: torch.nn.Module, chains: Tensor, log_z_base: Union[float, Tensor] = 0.0
    ) -> None:
        """Call this between the negative phase and the optimiser's step, at every step or less
        often.

        Args:
            energy: the module, with its current parameters.
            chains: samples of it at every rung, (R, N, ...).
            log_z_base: the exact log Z at the last rung: (V + H) log 2 for an RBM at beta = 0.

        Raises:
            ValueError: chains of another shape; energies that are NaN; rungs, or parameters before
                and after, that do not overlap. The tracker is then unchanged.
        """
        with as_argument(energy) as now, as_argument(self.previous) as before:
            track = torch.ops.torch_ebm.track_log_z(
                self._track(), now, before, chains, self.betas, log_z_base=float(log_z_base)
            )
        self.previous.load_state_dict(energy.state_dict())
        self._keep(track)

    @torch.no_grad()
    @names_wrong_types
    def anchor(self, estimate: LogZEstimate) -> None:
        """Adds an independent estimate of log Z at rung 0, for the parameters of the last update.

        It must come from samples unrelated to the chains, for example from :func:`torch_ebm.ais`.

        Raises:
            ValueError: before the first update; numbers that are not finite.
        """
        log_z, std_error = float(estimate.log_z), float(estimate.std_error)
        self._keep(torch.ops.torch_ebm.anchor_log_z(self._track(), log_z, std_error))

    @torch.no_grad()
    def estimate(self) -> LogZEstimate:
        """log Z of rung 0, the model, with an interval by Student's t, N - 1 degrees of freedom.

        ``ess`` is the smallest effective number of samples in the overlap of two distributions, as
        in :func:`torch_ebm.bridge_sampling`. Warns if it is below 10, the interval longer than 2,
        or the bridges between rungs differ from the tracked values by more than 5 standard errors.

        Raises:
            ValueError: before the first update.
        """
        numbers = torch.ops.torch_ebm.tracked_log_z(self._track())
        warning = torch.ops.torch_ebm.log_z_track_warning(self._track())
        nothing = numbers[0].new_empty(0)
        return LogZEstimate(*numbers, nothing, self.betas, None, warning)

    def log_z(self) -> Tensor:
        """log Z of all rungs, (R,), float64.

        Raises:
            ValueError: before the first update.
        """
        return torch.ops.torch_ebm.rung_log_z(self._track())
