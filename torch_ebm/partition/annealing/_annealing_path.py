"""What annealing needs to know about a base, an energy and a sampler."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
from torch import Tensor

from ...energy.energy import Energy, as_argument, has_method, runs_forward_of
from ...energy.noise import NoiseDistribution, sample_from
from ...models.rbm import RBM
from ...samplers.gibbs import gibbs
from ...samplers.sampler import Sampler, sampler_argument
from ..log_z_estimate import LogZEstimate
from .anneal import anneal
from .annealed_energy import annealed_energy, support_of
from .schedule import linear_schedule
from .tune_path import tune_path

_ops = torch.ops.torch_ebm


class EnergyPath:
    """The path from a base to an energy, and the sampler that moves its chains.

    Args:
        sampler: default: Gibbs sampling for binary states, HMC tuned by a pilot run for others.

    Raises:
        TypeError: ``base`` is not a distribution.
    """

    def __init__(
        self, op: str, energy: Energy, base: NoiseDistribution, sampler: Optional[Sampler]
    ) -> None:
        if not (hasattr(base, "sample") and hasattr(base, "log_prob")):
            raise TypeError(
                f"{op}: base must have methods sample and log_prob, got {type(base).__name__}"
            )
        self.op = op
        self.energy, self.base, self.sampler = energy, base, sampler
        self.own = has_method(energy, "tempered") or has_method(energy, "base_energy")
        self.path = energy if self.own else annealed_energy(energy, base)

    def check(self, x: Tensor) -> None:
        """Raises TypeError or ValueError unless chains can start at x, (N, ...)."""
        _ops._check_annealing_start(self.op, x)

    def start(self, n_chains: int, generator: torch.Generator) -> Tensor:
        """Exact samples of the base."""
        x = sample_from(self.base, n_chains, generator)
        log_prob = self.base.log_prob(x)
        if log_prob.shape != (n_chains,):
            raise ValueError(
                f"{self.op}: the base's log_prob must have shape ({n_chains},) for as many states,"
                f" got {tuple(log_prob.shape)}; wrap a distribution of single units in"
                " torch.distributions.Independent"
            )
        return x.detach()

    def found_sampler(self, generator: torch.Generator, n_stages: int) -> Sampler:
        """The sampler, or one that suits the states of the base and a run of ``n_stages`` moves.

        Raises:
            ValueError: no sampler suits them.
        """
        if self.sampler is not None:
            return self.sampler
        x = self.start(_ops._n_pilot_chains(), generator)
        sampler = _ops._default_sampler(self.op, x, _support_of(self.base))
        if sampler == "hmc":
            betas, n_steps = _ops._pilot_run(n_stages)
            return tune_path(self.path, x, betas, n_steps=n_steps, generator=generator)
        return gibbs if sampler == "gibbs" else functools.partial(gibbs, categorical=True)

    def log_z_base(self) -> Tensor:
        """log Z at beta = 0.

        Raises:
            ValueError: the energy defines its own path, and the base is not its distribution there.
        """
        if not self.own:
            return torch.zeros((), dtype=torch.float64)
        x = self.start(_ops._n_pilot_chains(), torch.Generator().manual_seed(0))
        with torch.no_grad(), as_argument(self.energy) as argument:
            return _ops._log_z_of_base(self.op, argument, x, self.base.log_prob(x))

    def anneal(self, x: Tensor, betas: Tensor, log_weights: Tensor, **options: Any):
        """The states at ``betas[-1]``, their weights, and the ESS before these were resampled."""
        chains = anneal(self.path, x, betas, self.sampler, log_weights=log_weights, **options)
        return chains.x, chains.log_weights, chains.stage_ess[-1]

    def base_warning(self, betas: Tensor, estimate: LogZEstimate) -> str:
        """A warning that chains from this base missed a part of the model: only an RBM's is checked."""
        return ""

    def move(self, x: Tensor, generator: torch.Generator, n_steps: int = 1) -> Tensor:
        """The states after ``n_steps`` steps at beta = 1."""
        with as_argument(self.path) as path, sampler_argument(self.sampler, self.path) as sampler:
            return _ops._moved_at_model(
                self.op, path, x, sampler, n_steps=n_steps, generator=generator
            )


def _support_of(base: NoiseDistribution) -> str:
    """What is known of all states of a base, in the words of the operator ``_default_sampler``."""
    while isinstance(base, torch.distributions.Independent):
        base = base.base_dist
    if isinstance(base, torch.distributions.OneHotCategorical):
        return "one-hot"
    if isinstance(base, torch.distributions.Poisson):
        return "counts"
    support = support_of(base)
    if support is None:
        return "unknown"
    return "discrete" if support.is_discrete else "real"


class SalakhutdinovMurrayPath:
    """The path of Salakhutdinov & Murray (2008) to an RBM, in one operator."""

    def __init__(self, op: str, rbm: RBM, base_visible_bias: Optional[Tensor]) -> None:
        self.op, self.rbm, self.path, self.sampler = op, rbm, rbm, None
        uniform = base_visible_bias is None
        self.bias = (torch.zeros_like(rbm.visible_bias) if uniform else base_visible_bias).detach()

    def check(self, x: Tensor) -> None:
        """Raises TypeError or ValueError unless chains can start at x, (N, V)."""
        _ops._check_annealing_start(self.op, x, self.rbm.weight)

    def start(self, n_chains: int, generator: torch.Generator) -> Optional[Tensor]:
        return None  # the operator draws it

    def found_sampler(self, generator: torch.Generator, n_stages: int) -> None:
        return None

    def log_z_base(self) -> Tensor:
        return _ops._rbm_log_z_base(self.bias, self.rbm.n_hidden)

    def anneal(
        self,
        x: Optional[Tensor],
        betas: Tensor,
        log_weights: Tensor,
        *,
        n_groups: int,
        resample_below: float,
        generator: torch.Generator,
    ):
        if n_groups != 1 or resample_below != 0:
            raise ValueError(
                "ais: the chains of an RBM do not resample unless a base and a sampler are given"
            )
        rbm = self.rbm
        log_weights, x = _ops.rbm_ais(
            rbm.weight,
            rbm.visible_bias,
            rbm.hidden_bias,
            self.bias,
            betas,
            n_chains=len(log_weights),
            visible=x,
            log_weights=log_weights,
            generator=generator,
        )
        return x, log_weights, _ops._effective_number(log_weights)

    def base_warning(self, betas: Tensor, estimate: LogZEstimate) -> str:
        return _ops.rbm_base_warning(
            self.rbm.weight,
            self.rbm.visible_bias,
            self.rbm.hidden_bias,
            self.bias,
            betas,
            n_chains=len(estimate.log_weights),
            log_z=estimate.log_z.item(),
            upper=estimate.upper.item(),
        )

    def move(self, x: Tensor, generator: torch.Generator, n_steps: int = 1) -> Tensor:
        return self.rbm.gibbs(x, n_steps, generator=generator) if n_steps > 0 else x


Path = Union[EnergyPath, SalakhutdinovMurrayPath]


def path_of(
    op: str,
    energy: Energy,
    base: Optional[NoiseDistribution],
    sampler: Optional[Sampler],
    base_visible_bias: Optional[Tensor],
) -> Path:
    """The path that the arguments of :func:`ais` describe."""
    if base is None and sampler is None and isinstance(energy, RBM):
        if runs_forward_of(energy, RBM):
            return SalakhutdinovMurrayPath(op, energy, base_visible_bias)
    if base_visible_bias is not None:
        raise ValueError(f"{op}: base_visible_bias is for an RBM without another base or sampler")
    if base is None:
        raise ValueError(
            f"{op}: base must be given, unless the energy is an RBM and no sampler is given"
        )
    return EnergyPath(op, energy, base, sampler)


def checked_betas(op: str, betas: Union[int, Tensor]) -> Tensor:
    """Inverse temperatures from 0 to 1, float64 on the CPU."""
    if not isinstance(betas, (Tensor, Sequence)) and hasattr(betas, "__index__"):
        return linear_schedule(operator.index(betas))
    return _ops._betas_to_model(op, torch.as_tensor(betas).double())
