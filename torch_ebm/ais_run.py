"""Annealed importance sampling that can be interrupted, saved and continued."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Optional, Union

import torch
from torch import Tensor
from tqdm import tqdm

from ._annealing_path import EnergyPath, checked_betas, path_of
from .energy import Energy
from .gibbs import gibbs
from .log_z_estimate import LogZEstimate, log_z_from_weights
from .noise import NoiseDistribution
from .sampler import Sampler
from .tune_path import PathTuning

_MOST_STAGES = 100


class AISRun:
    """Annealed importance sampling that can be interrupted, saved and continued.

    :func:`ais` is such a run from its beginning to its end, and says what the arguments mean::

        run = torch_ebm.AISRun(energy, base, sampler, n_chains=1000, batch_size=100)
        run.run(progress=True)  # after Ctrl-C call it again, or ...
        print(run.estimate())  # ... take what there is
        torch_ebm.save_checkpoint("run.pt", run=run)

    A run that was interrupted, or saved and loaded into another with the same arguments, ends with
    the same numbers as one that was not.

    Args:
        x: start here, from samples of the model, and go down to the base; ``n_chains`` is then
            their number.
        batch_size: chains that are annealed together, all by default: bounds the memory. An
            estimate that is asked for early is that of the batches that are finished.

    Raises:
        ValueError: fewer than two chains (or groups, where they resample), ``batch_size`` that
            does not divide into groups, betas that do not rise from 0 to 1, no ``base``.
    """

    def __init__(
        self,
        energy: Energy,
        base: Optional[NoiseDistribution] = None,
        sampler: Optional[Sampler] = None,
        *,
        x: Optional[Tensor] = None,
        n_chains: int = 100,
        betas: Union[int, Tensor] = 1000,
        base_visible_bias: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
        n_groups: int = 1,
        resample_below: float = 0.0,
        generator: Optional[torch.Generator] = None,
    ) -> None:
        op = "ais" if x is None else "reverse_ais"
        n_chains = n_chains if x is None else len(x)
        if n_chains < 2:
            raise ValueError(f"{op}: n_chains must be at least 2, got {n_chains}")
        batch_size = n_chains if batch_size is None else batch_size
        if batch_size < 1:
            raise ValueError(f"{op}: batch_size must be at least 1, got {batch_size}")
        self._path = path_of(op, energy, base, sampler, base_visible_bias)
        self._op, self._first_states = op, x
        self._betas = checked_betas(op, betas)
        self._betas = self._betas if x is None else self._betas.flip(0)
        self._sizes = [min(batch_size, n_chains - i) for i in range(0, n_chains, batch_size)]
        self._groups = _Groups(op, self._sizes, n_groups, resample_below)
        self._generator = generator or torch.Generator().manual_seed(
            torch.randint(2**62, ()).item()
        )
        n = len(self._betas) - 1
        n_stages = min(n, _MOST_STAGES)
        self._ends = [round(n * (s + 1) / n_stages) for s in range(n_stages)]
        # log of the sums of the weights, and of their squares, after every stage
        self._log_sums = torch.full((n_stages, 2), -math.inf, dtype=torch.float64)
        self._done: list[Tensor] = []
        self._ended: list[Tensor] = []  # the states of the same chains
        self._x: Optional[Tensor] = None
        self._log_weights: Optional[Tensor] = None
        self._stage = 0
        self._log_z_base = torch.zeros((), dtype=torch.float64)
        self._prepared = False

    @property
    def finished(self) -> bool:
        """Whether all chains have reached the end of the path."""
        return len(self._done) == len(self._sizes)

    def run(self, *, progress: bool = False) -> LogZEstimate:
        """Goes on to the end, and returns the estimate.

        An exception, Ctrl-C among them, leaves the run at the last of at most 100 stages a batch.
        """
        n_stages = len(self._ends)
        done = len(self._done) * n_stages + self._stage
        with tqdm(
            total=len(self._sizes) * n_stages,
            initial=done,
            desc=self._op,
            disable=not progress,
            leave=False,
        ) as bar:
            while not self.finished:
                with self._all_or_nothing():
                    self._advance()
                bar.update()
        return self.estimate()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = self._generator.get_state()
        try:
            yield
        except BaseException:
            self._generator.set_state(before)
            raise

    def _advance(self) -> None:
        """One stage of the current batch."""
        if not self._prepared:
            self._path.prepare(self._generator)
            self._prepared = True
            return self._advance()
        x, log_weights, log_z_base = self._x, self._log_weights, self._log_z_base
        if self._stage == 0:
            x, log_weights, log_z_base = self._start()
        begin = 0 if self._stage == 0 else self._ends[self._stage - 1]
        x, log_weights = self._path.anneal(
            x,
            self._betas[begin : self._ends[self._stage] + 1],
            log_weights,
            generator=self._generator,
            n_groups=self._groups.n_groups,
            resample_below=self._groups.resample_below,
        )
        # From here on nothing can fail.
        self._x, self._log_weights, self._log_z_base = x, log_weights, log_z_base
        sums = torch.stack([log_weights.logsumexp(0), (2 * log_weights).logsumexp(0)]).cpu()
        self._log_sums[self._stage] = torch.logaddexp(self._log_sums[self._stage], sums)
        self._stage += 1
        if self._stage == len(self._ends):
            self._done.append(log_weights)
            self._ended.append(x)
            self._x, self._log_weights, self._stage = None, None, 0

    def _start(self) -> tuple[Optional[Tensor], Tensor, Tensor]:
        size = self._sizes[len(self._done)]
        if self._first_states is None:
            x = self._path.start(size, self._generator)
        else:
            begin = sum(self._sizes[: len(self._done)])
            x = self._first_states[begin : begin + size].detach()
        log_z_base = self._path.log_z_base(x)
        return x, torch.zeros(size, dtype=torch.float64, device=log_z_base.device), log_z_base

    def estimate(self) -> LogZEstimate:
        """What the finished batches say.

        Where none is finished this is log Z of the law that the chains have reached, and its
        warning says so.

        Raises:
            ValueError: nothing was done yet.
        """
        if not self._done and self._log_weights is None:
            raise ValueError(f"{self._op}: no stage of the first batch is finished yet")
        stages = len(self._ends) if self._done else self._stage
        log_weights = torch.cat(self._done) if self._done else self._log_weights
        betas = self._betas[[0, *self._ends[:stages]]]
        sums = self._log_sums[:stages]
        stage_ess = torch.exp(2 * sums[:, 0] - sums[:, 1]).nan_to_num(0)
        sign = 1 if self._first_states is None else -1
        estimate = log_z_from_weights(
            self._groups.independent(log_weights, self._sizes),
            sign * self._log_z_base,
            betas=betas,
            stage_ess=stage_ess,
        )
        if sign < 0:
            estimate = estimate._replace(
                log_z=-estimate.log_z, lower=-estimate.upper, upper=-estimate.lower
            )
        if not self._done:
            unfinished = f"Interrupted: this is log Z at beta = {betas[-1]:.4g}, not at 1."
            estimate = estimate._replace(warning=f"{unfinished} {estimate.warning}".strip())
        return estimate

    def samples(self, n_burn_in: int = 0) -> Tensor:
        """As many samples of the model as there are chains, (n_chains, ...), though not exact ones.

        The last states, drawn anew by their weights (systematically), and then moved ``n_burn_in``
        times at beta = 1.

        Raises:
            ValueError: the run is not finished, or led down to the base.
        """
        if not self.finished or self._first_states is not None:
            raise ValueError(f"{self._op}: samples need a run up that is finished")
        shares = torch.cat(self._done).softmax(0).cumsum(0).cpu()
        u = torch.rand((), generator=self._generator, device=self._generator.device).cpu()
        comb = (torch.arange(len(shares), dtype=torch.float64) + u) / len(shares)
        chosen = torch.searchsorted(shares, comb).clamp_max(len(shares) - 1)  # for rounded shares
        x = torch.cat(self._ended)
        return self._path.move(x[chosen.to(x.device)], self._generator, n_burn_in)

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs to go on from here."""
        tuning = getattr(self._path, "sampler", None)
        return {
            "betas": self._betas,
            "sizes": self._sizes,
            "done": self._done,
            "ended": self._ended,
            "stage": self._stage,
            "x": self._x,
            "log_weights": self._log_weights,
            "log_sums": self._log_sums,
            "log_z_base": self._log_z_base,
            "generator": self._generator.get_state(),
            "prepared": self._prepared,
            "tuning": list(tuning) if isinstance(tuning, PathTuning) else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the state of another run with the same arguments.

        Raises:
            ValueError: the other had other betas or other numbers of chains.
        """
        if not torch.equal(state["betas"], self._betas) or state["sizes"] != self._sizes:
            raise ValueError(
                "AISRun: the state is that of a run with other betas or numbers of chains"
            )
        self._done, self._ended = list(state["done"]), list(state["ended"])
        self._stage = state["stage"]
        self._x, self._log_weights = state["x"], state["log_weights"]
        self._log_sums = state["log_sums"].clone()
        self._log_z_base = state["log_z_base"]
        self._generator.set_state(state["generator"])
        self._prepared = state["prepared"]
        if self._prepared and isinstance(self._path, EnergyPath) and self._path.sampler is None:
            tuning = state["tuning"]
            self._path.sampler = gibbs if tuning is None else PathTuning(*tuning)


class _Groups:
    """Which chains resample among themselves."""

    def __init__(self, op: str, sizes: list[int], n_groups: int, resample_below: float) -> None:
        if n_groups < 1 or any(size % n_groups for size in sizes):
            raise ValueError(
                f"{op}: n_groups must divide the chains of every batch, {sizes}, got {n_groups}"
            )
        if resample_below > 0 and n_groups * len(sizes) < 2:
            raise ValueError(
                f"{op}: n_groups must be at least 2 where chains resample: the error comes from"
                f" the differences between groups, got {n_groups}"
            )
        self.n_groups, self.resample_below = n_groups, resample_below

    def independent(self, log_weights: Tensor, sizes: list[int]) -> Tensor:
        """The weights of chains that are independent: of groups where these resample."""
        if self.resample_below == 0:
            return log_weights
        groups = [
            batch.view(self.n_groups, -1)
            for batch in log_weights.split(_finished(sizes, len(log_weights)))
        ]
        return torch.cat([g.logsumexp(1) - math.log(g.size(1)) for g in groups])


def _finished(sizes: list[int], n_chains: int) -> list[int]:
    """The first of the batches, with ``n_chains`` chains in all."""
    out = []
    for size in sizes:
        if sum(out) == n_chains:
            break
        out.append(size)
    return out
