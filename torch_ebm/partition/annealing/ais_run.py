"""Annealed importance sampling that can be interrupted, saved and continued."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Optional, Union

import torch
from torch import Tensor
from tqdm import tqdm

from ...common._arguments import as_generator
from ...common._wrong_types import names_wrong_types
from ...common.progress import bars_are_shown
from ...energy.energy import Energy
from ...energy.noise import NoiseDistribution
from ...samplers.sampler import Sampler
from ..log_z_estimate import LogZEstimate, log_z_from_weights
from ._annealing_path import checked_betas, path_of
from .tune_path import PathTuning

_MOST_STAGES = 25


class AISRun:
    """Annealed importance sampling that can be interrupted, saved and continued.

    :func:`ais` is such a run from start to finish, and explains the arguments::

        run = torch_ebm.AISRun(energy, base, sampler, n_chains=1000, batch_size=100)
        run.run(progress=True)  # after Ctrl-C call it again, or ...
        print(run.estimate())  # ... take the estimate so far
        torch_ebm.save_checkpoint("run.pt", run=run)

    A run that was interrupted, or saved and loaded into another with the same arguments, ends with
    the same numbers as one that was not.

    Args:
        x: samples of the model, from which the run goes down to the base; ``n_chains`` is then
            their number.
        batch_size: chains that are annealed together, all by default: bounds the memory. An
            estimate that is asked for early is that of the batches that are finished.

    Raises:
        ValueError: fewer than two chains (or groups, where they resample), ``batch_size`` that
            does not divide into groups, betas that do not rise from 0 to 1, no ``base``.
    """

    @names_wrong_types
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
        if x is not None and x.dim() == 0:
            raise ValueError(f"{op}: x must have shape (N, ...), got ()")
        n_chains = n_chains if x is None else len(x)
        if n_chains < 2:
            raise ValueError(f"{op}: n_chains must be at least 2, got {n_chains}")
        batch_size = n_chains if batch_size is None else batch_size
        if batch_size < 1:
            raise ValueError(f"{op}: batch_size must be at least 1, got {batch_size}")
        self._path = path_of(op, energy, base, sampler, base_visible_bias)
        if x is not None:
            self._path.check(x)
        self._op, self._first_states = op, x
        self._betas = checked_betas(op, betas)
        self._betas = self._betas if x is None else self._betas.flip(0)
        self._sizes = [min(batch_size, n_chains - i) for i in range(0, n_chains, batch_size)]
        self._groups = _Groups(op, self._sizes, n_groups, resample_below)
        self._generator = as_generator(generator)
        n = len(self._betas) - 1
        n_stages = min(n, _MOST_STAGES)
        self._ends = [round(n * (s + 1) / n_stages) for s in range(n_stages)]
        self._state = _State(
            log_sums=torch.full((n_stages, 2), -math.inf, dtype=torch.float64),
            generator=self._generator.get_state(),
        )

    @property
    def finished(self) -> bool:
        """Whether all chains have reached the end of the path."""
        return len(self._state.done) == len(self._sizes)

    @names_wrong_types
    def run(self, *, progress: bool = False) -> LogZEstimate:
        """Continues to the end, and returns the estimate.

        An exception, such as Ctrl-C, leaves the run at the last completed stage. A batch has at
        most 25 stages. The run owns its generator until it is finished.
        """
        n_stages = len(self._ends)
        with tqdm(
            total=len(self._sizes) * n_stages,
            initial=len(self._state.done) * n_stages + self._state.stage,
            desc=self._op,
            disable=not (progress or bars_are_shown()),
            leave=False,
        ) as bar:
            while not self.finished:
                # Wherever this is interrupted, the state is the old one or the new one.
                self._state = self._next()
                bar.update(self._state.stage != 0 or bool(self._state.done))
        return self.estimate()

    def _found_sampler(self, generator: torch.Generator) -> Optional[Sampler]:
        return self._path.found_sampler(generator, len(self._betas) - 1)

    def _next(self) -> _State:
        """The state after one more stage; the first one finds the sampler."""
        state, generator = self._state, self._generator
        generator.set_state(state.generator)  # an interrupted stage has drawn from it
        if not state.prepared:
            sampler, log_z_base = self._found_sampler(generator), self._path.log_z_base()
            state = state._replace(prepared=True, sampler=sampler, log_z_base=log_z_base)
            return state._replace(generator=generator.get_state())
        self._path.sampler = state.sampler
        x, log_weights = (state.x, state.log_weights) if state.stage else self._start()
        begin = self._ends[state.stage - 1] if state.stage else 0
        x, log_weights, ess = self._path.anneal(
            x,
            self._betas[begin : self._ends[state.stage] + 1],
            log_weights,
            generator=generator,
            n_groups=self._groups.n_groups,
            resample_below=self._groups.resample_below,
        )
        # Resampling keeps the sum of the weights, and the ESS is that of the weights before it.
        log_sum = log_weights.logsumexp(0)
        log_sum_of_squares = (2 * log_sum - ess.log()).nan_to_num(-math.inf, -math.inf, -math.inf)
        sums = torch.stack([log_sum, log_sum_of_squares]).cpu()
        log_sums = state.log_sums.clone()
        log_sums[state.stage] = torch.logaddexp(log_sums[state.stage], sums)
        state = state._replace(
            stage=state.stage + 1,
            x=x,
            log_weights=log_weights,
            log_sums=log_sums,
            generator=generator.get_state(),
        )
        if state.stage < len(self._ends):
            return state
        return state._replace(
            done=(*state.done, log_weights),
            ended=(*state.ended, x),
            stage=0,
            x=None,
            log_weights=None,
        )

    def _start(self) -> tuple[Optional[Tensor], Tensor]:
        n_done, state = len(self._state.done), self._state
        size = self._sizes[n_done]
        if self._first_states is None:
            x = self._path.start(size, self._generator)
        else:
            begin = sum(self._sizes[:n_done])
            x = self._first_states[begin : begin + size].detach()
        device = state.log_z_base.device if x is None else x.device
        return x, torch.zeros(size, dtype=torch.float64, device=device)

    def estimate(self) -> LogZEstimate:
        """The estimate from the finished batches.

        If none is finished, this is log Z of the distribution that the chains have reached (on the
        way down, log Z minus that), and its warning says so.

        Raises:
            ValueError: fewer than two chains, or groups that resample, have completed a stage.
        """
        state, up = self._state, self._first_states is None
        log_weights = torch.cat(state.done) if state.done else state.log_weights
        if log_weights is not None:
            log_weights = self._groups.independent(log_weights, self._sizes)
        if log_weights is None or len(log_weights) < 2:
            raise ValueError(
                f"{self._op}: no estimate yet: it takes a stage of two chains, or of two groups"
                " that resample"
            )
        stages = len(self._ends) if state.done else state.stage
        sums = state.log_sums[:stages]
        log_z_base = state.log_z_base if up or state.done else torch.zeros_like(state.log_z_base)
        estimate = log_z_from_weights(
            log_weights,
            log_z_base if up else -log_z_base,
            betas=self._betas[[0, *self._ends[:stages]]],
            stage_ess=torch.exp(2 * sums[:, 0] - sums[:, 1]).nan_to_num(0),
        )
        if not up:
            estimate = estimate._replace(
                log_z=-estimate.log_z, lower=-estimate.upper, upper=-estimate.lower
            )
        if not state.done:
            beta = f"beta = {estimate.betas[-1]:.4g}"
            what = f"log Z at {beta}, not at 1" if up else f"log Z less that at {beta}, not at 0"
            warning = f"Interrupted: this is {what}. {estimate.warning}".strip()
            estimate = estimate._replace(warning=warning)
        elif up and self.finished and not estimate.warning:
            estimate = estimate._replace(warning=self._path.base_warning(self._betas, estimate))
        return estimate

    @names_wrong_types
    def samples(self, n_burn_in: int = 0) -> Tensor:
        """Approximate samples of the model, one per chain, (n_chains, ...).

        These are the last states, resampled by their weights (systematically) and then moved
        ``n_burn_in`` times at beta = 1.

        Raises:
            ValueError: the run is not finished, or goes down to the base; ``n_burn_in`` < 0.
        """
        if not self.finished or self._first_states is not None:
            raise ValueError(f"{self._op}: samples need a finished run up to the model")
        if n_burn_in < 0:
            raise ValueError(f"{self._op}: n_burn_in must be at least 0, got {n_burn_in}")
        log_weights, x = torch.cat(self._state.done), torch.cat(self._state.ended)
        self._path.sampler = self._state.sampler
        chosen = torch.ops.torch_ebm._chains_by_weight(log_weights, generator=self._generator)
        return self._path.move(x[chosen], self._generator, n_burn_in)

    def _arguments(self) -> dict[str, Any]:
        """What two runs must have in common for one to continue from the state of the other."""
        return {
            "run": self._op,
            "path": type(self._path).__name__,
            "betas": self._betas.tolist(),
            "sizes": self._sizes,
            "n_groups": self._groups.n_groups,
            "resample_below": self._groups.resample_below,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`load_state_dict` needs to continue from here."""
        state = self._state._asdict()
        sampler = state.pop("sampler")
        state["tuning"] = list(sampler) if isinstance(sampler, PathTuning) else None
        return {**state, **self._arguments()}

    @names_wrong_types
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the state of another run with the same arguments.

        Raises:
            ValueError: the other run had different betas, numbers of chains or groups, or another
                kind of path; or ``state`` is not the state of a run.
        """
        state = dict(state)
        for name, own in self._arguments().items():
            if state.pop(name, None) != own:
                raise ValueError(f"AISRun: the state is that of a run with other {name}")
        tuning = state.pop("tuning", None)
        if set(state) != set(_State._fields) - {"sampler"}:
            raise ValueError(f"AISRun: this is not the state of a run: {sorted(state)}")
        sampler = None if tuning is None else PathTuning(*tuning)
        if state["prepared"] and sampler is None:
            sampler = self._found_sampler(torch.Generator().manual_seed(0))
        for name in ("done", "ended"):
            state[name] = tuple(state[name])
        self._state = _State(**state, sampler=sampler)
        self._generator.set_state(self._state.generator)


class _State(NamedTuple):
    """The progress of a run. It is replaced as a whole."""

    log_sums: Tensor
    """log of the sums of the weights, and of their squares, after every stage."""
    generator: Tensor
    prepared: bool = False
    sampler: Optional[Sampler] = None
    log_z_base: Tensor = torch.zeros((), dtype=torch.float64)
    done: tuple[Tensor, ...] = ()
    """The log weights of the finished batches."""
    ended: tuple[Tensor, ...] = ()
    """Their last states."""
    stage: int = 0
    """Of the current batch, with its states and log weights."""
    x: Optional[Tensor] = None
    log_weights: Optional[Tensor] = None


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
        """Weights that are independent: those of the chains, or of the groups if these resample."""
        if self.resample_below == 0:
            return log_weights
        batches = log_weights.split(_finished(sizes, len(log_weights)))
        of_groups = torch.ops.torch_ebm._independent_weights
        return torch.cat([of_groups(batch, self.n_groups) for batch in batches])


def _finished(sizes: list[int], n_chains: int) -> list[int]:
    """The sizes of the first batches, which have ``n_chains`` chains in all."""
    out = []
    for size in sizes:
        if sum(out) == n_chains:
            break
        out.append(size)
    return out
