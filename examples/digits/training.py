"""Trains an RBM by the gradient of its log-likelihood, with the negative phase sampled by PCD."""

from __future__ import annotations

import functools
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import torch
import torch_ebm
from torch import Tensor

from data import Digits


class CannotResume(ValueError):
    """The checkpoint does not belong to this run; the text is one sentence."""


@dataclass(frozen=True)
class Settings:
    """What determines a run: the same settings give the same parameters, bit for bit."""

    data: str
    hidden: int
    epochs: int
    batch_size: int
    chains: int
    gibbs_steps: int
    learning_rate: float
    momentum: float
    weight_decay: float
    seed: int
    threads: int


@dataclass(frozen=True)
class Point:
    """Mean log-probabilities at the end of an epoch, with exact log Z."""

    epoch: int
    train: float
    test: float


def new_rbm(digits: Digits, n_hidden: int, seed: int) -> torch_ebm.RBM:
    """An RBM that begins as the independent pixels of the training data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rbm = torch_ebm.RBM(digits.train.size(1), n_hidden)
    with torch.no_grad():
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(digits.train))
    return rbm


@torch.no_grad()
def mean_log_probability(rbm: torch_ebm.RBM, visible: Tensor, log_z: Tensor) -> float:
    """The mean of log p(v) = -F(v) - log Z."""
    return float(-rbm(visible).double().mean() - log_z)


def descend(
    rbm: torch_ebm.RBM,
    optimizer: torch.optim.Optimizer,
    negative_phase: torch_ebm.NegativePhase,
    monitor: torch_ebm.TrainingMonitor,
    positive: Tensor,
) -> float:
    """One update. Returns the loss: without log Z, it is the energy gap between data and chains."""
    negative = negative_phase(rbm, positive)
    on_data, on_chains = rbm(positive), rbm(negative)
    monitor.update(on_data, on_chains, positive, negative, negative_phase.start)
    # The value is the gap, the gradient that of the negative log-likelihood.
    loss = on_data.mean() + torch.ops.torch_ebm.log_partition(on_chains)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


class Trainer:
    """A run of PCD: everything that a checkpoint holds, and what to do with it."""

    def __init__(self, settings: Settings, digits: Digits) -> None:
        self.settings = settings
        self.digits = digits
        self.rbm = new_rbm(digits, settings.hidden, settings.seed)
        self.optimizer = torch.optim.SGD(
            self.rbm.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.pcd = torch_ebm.PCD(
            settings.chains,
            (digits.train.size(1),),
            functools.partial(torch_ebm.gibbs, n_steps=settings.gibbs_steps),
            seed=settings.seed,
        )
        self.monitor = torch_ebm.TrainingMonitor()
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[Point] = []
        self.saved_epoch: Optional[int] = None

    @property
    def updates_per_epoch(self) -> int:
        return len(self.digits.train) // self.settings.batch_size

    def _states(self) -> dict[str, Any]:
        return {
            "model": self.rbm,
            "optimizer": self.optimizer,
            "pcd": self.pcd,
            "monitor": self.monitor,
        }

    def save(self, path: Path) -> None:
        """Writes the checkpoint, replacing the one before."""
        torch_ebm.save_checkpoint(
            path,
            **self._states(),
            epoch=self.epoch,
            seconds=self.seconds,
            history=[asdict(point) for point in self.history],
            settings=asdict(self.settings),
        )
        self.saved_epoch = self.epoch

    def resume(self, path: Path) -> None:
        """Continues from the checkpoint.

        Raises:
            CannotResume: there is none, it is truncated, or it was written with other settings.
        """
        if not path.exists():
            raise CannotResume(f"there is no checkpoint {path} to resume from")
        try:
            saved = torch_ebm.checkpoint_values(path)
        except ValueError as error:
            raise CannotResume(str(error)) from error
        mine = asdict(self.settings)
        other = [name for name in mine if mine[name] != saved["settings"].get(name)]
        if other:
            name = other[0]
            raise CannotResume(
                f"{path} was written with --{name.replace('_', '-')}"
                f" {saved['settings'].get(name)}, not {mine[name]}: resume with the same arguments"
            )
        torch_ebm.load_checkpoint(path, **self._states())
        self.epoch = self.saved_epoch = saved["epoch"]
        self.seconds = saved["seconds"]
        self.history = [Point(**point) for point in saved["history"]]

    def _order(self) -> Tensor:
        """The order of this epoch's examples: a function of the seed and the epoch."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.epoch)
        return torch.randperm(len(self.digits.train), generator=generator)

    def run_epoch(self) -> float:
        """One pass over the training data; returns the mean loss, an energy gap."""
        began = time.monotonic()
        total = self.settings.epochs * self.updates_per_epoch
        size = self.settings.batch_size
        order = self._order()
        gap = 0.0
        for i in range(self.updates_per_epoch):
            done = self.epoch * self.updates_per_epoch + i
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * (1 - done / total)
            batch = self.digits.train[order[i * size : (i + 1) * size]]
            gap += descend(self.rbm, self.optimizer, self.pcd, self.monitor, batch)
        self.epoch += 1
        self.seconds += time.monotonic() - began
        return gap / self.updates_per_epoch

    @torch.no_grad()
    def evaluate(self) -> Point:
        """Computes log Z exactly; with it the loss is the negative log-likelihood itself."""
        log_z = self.rbm.log_z()
        chains = self.pcd.chains
        nll = self.rbm(self.digits.train).mean() + torch_ebm.log_partition(self.rbm, chains, log_z)
        test = mean_log_probability(self.rbm, self.digits.test, log_z)
        self.history.append(Point(self.epoch, -float(nll), test))
        return self.history[-1]

    def end_epoch(self) -> list[str]:
        """The monitor's warnings about the epoch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch_ebm.TrainingWarning)  # the caller prints them
            return self.monitor.end_epoch()


def train(
    trainer: Trainer,
    checkpoint: Path,
    *,
    evaluate_every: int,
    save_every: int,
    show: Callable[[Trainer, float], None],
    say: Callable[[str], None],
) -> None:
    """Trains to the last epoch; writes ``checkpoint`` every ``save_every`` epochs and at the end.

    Args:
        show: called after every epoch, with its mean energy gap.
        say: called with every warning.
    """
    last = trainer.settings.epochs
    if trainer.epoch == 0 and not trainer.history:
        trainer.evaluate()
        trainer.save(checkpoint)
    while trainer.epoch < last:
        gap = trainer.run_epoch()
        for text in trainer.end_epoch():
            say(f"epoch {trainer.epoch}: {text}")
        if trainer.epoch % evaluate_every == 0 or trainer.epoch == last:
            trainer.evaluate()
        if trainer.epoch % save_every == 0 or trainer.epoch == last:
            trainer.save(checkpoint)
        show(trainer, gap)
