"""What annealing needs to know about a base, an energy and a sampler."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
from torch import Tensor

from ...energy.energy import Energy, energy_at, has_method, runs_forward_of
from ...energy.noise import NoiseDistribution, sample_from
from ...models.rbm import RBM
from ...samplers.gibbs import gibbs
from ...samplers.sampler import Sampler, states_of
from ..log_z_estimate import LogZEstimate
from .anneal import anneal
from .annealed_energy import annealed_energy, support_of
from .schedule import linear_schedule
from .tune_path import tune_path

_PILOT_CHAINS = 50


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
        if not x.is_floating_point():
            raise TypeError(f"{self.op}: x must be floating, got {x.dtype}")
        if not x.isfinite().all():
            raise ValueError(f"{self.op}: x must be finite")

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
        x = self.start(_PILOT_CHAINS, generator)
        support = support_of(self.base)
        if support is None:
            discrete = bool(((x == 0) | (x == 1)).all())
        else:
            discrete = support.is_discrete
        if not discrete:
            betas, n_steps = pilot_of(n_stages)
            return tune_path(self.path, x, betas, n_steps=n_steps, generator=generator)
        if isinstance(_innermost(self.base), torch.distributions.OneHotCategorical):
            return functools.partial(gibbs, categorical=True)
        if not ((x == 0) | (x == 1)).all() or isinstance(
            _innermost(self.base), torch.distributions.Poisson
        ):
            raise ValueError(
                f"{self.op}: sampler must be given for a base of discrete states other than zeros"
                f" and ones, {type(self.base).__name__}"
            )
        return gibbs

    def log_z_base(self) -> Tensor:
        """log Z at beta = 0.

        Raises:
            ValueError: the energy defines its own path, and the base is not its distribution there.
        """
        if not self.own:
            return torch.zeros((), dtype=torch.float64)
        x = self.start(_PILOT_CHAINS, torch.Generator().manual_seed(0))
        at_zero = energy_at(self.energy, x, 0.0)
        with torch.no_grad():
            log_z = -(at_zero + self.base.log_prob(x).double())
        spread = (log_z.max() - log_z.min()).item()
        eps = torch.finfo(x.dtype).eps if x.is_floating_point() else 1e-7
        if not spread <= 1e-3 + 100 * eps * at_zero.abs().max().item():
            raise ValueError(
                f"{self.op}: base must be the distribution that the energy itself defines at"
                " beta = 0; the difference of their log densities varies by up to"
                f" {spread:.4g} between states"
            )
        return log_z.mean()

    def anneal(self, x: Tensor, betas: Tensor, log_weights: Tensor, **options: Any):
        """The states at ``betas[-1]``, their weights, and the ESS before these were resampled."""
        chains = anneal(self.path, x, betas, self.sampler, log_weights=log_weights, **options)
        return chains.x, chains.log_weights, chains.stage_ess[-1]

    def base_warning(self, betas: Tensor, estimate: LogZEstimate) -> str:
        """A warning that chains from this base missed a part of the model: only an RBM's is checked."""
        return ""

    def move(self, x: Tensor, generator: torch.Generator, n_steps: int = 1) -> Tensor:
        """The states after ``n_steps`` steps at beta = 1."""
        one = torch.ones((), dtype=torch.float64, device=x.device)
        for _ in range(n_steps):
            if isinstance(self.sampler, torch.jit.ScriptModule):
                x = self.sampler(x, one, generator)
            else:
                x = states_of(self.sampler(self.path, x, beta=one, generator=generator))
        return x


def pilot_of(n_stages: int) -> tuple[Tensor, int]:
    """Temperatures of a pilot run and its steps at each: as many in all as the run moves, within limits.

    11 x 100 where there are as many, as :func:`tune_path` makes by default, and never fewer than
    3 x 20: step sizes found in fewer are worth nothing.
    """
    n_temperatures = min(max(n_stages // 20, 3), 11)
    n_steps = min(max(n_stages // (n_temperatures - 1), 20), 100)
    return torch.linspace(0, 1, n_temperatures, dtype=torch.float64), n_steps


def _innermost(base: NoiseDistribution) -> object:
    """The distribution inside any torch.distributions.Independent wrappers."""
    while isinstance(base, torch.distributions.Independent):
        base = base.base_dist
    return base


class SalakhutdinovMurrayPath:
    """The path of Salakhutdinov & Murray (2008) to an RBM, in one operator."""

    def __init__(self, op: str, rbm: RBM, base_visible_bias: Optional[Tensor]) -> None:
        self.op, self.rbm, self.sampler = op, rbm, None
        uniform = base_visible_bias is None
        self.bias = (torch.zeros_like(rbm.visible_bias) if uniform else base_visible_bias).detach()

    def check(self, x: Tensor) -> None:
        """Raises TypeError or ValueError unless chains can start at x, (N, V)."""
        weight = self.rbm.weight
        if (x.dtype, x.device) != (weight.dtype, weight.device):
            raise TypeError(
                f"{self.op}: x must have the dtype and device of the RBM, {weight.dtype} on"
                f" {weight.device}, got {x.dtype} on {x.device}"
            )
        if x.dim() != 2 or x.shape[1] != self.rbm.n_visible:
            raise ValueError(
                f"{self.op}: x must have shape (N, {self.rbm.n_visible}), got {tuple(x.shape)}"
            )
        if not ((x == 0) | (x == 1)).all():
            raise ValueError(
                f"{self.op}: x must hold zeros and ones only; torch.bernoulli draws binary states"
                " from grey levels"
            )

    def start(self, n_chains: int, generator: torch.Generator) -> Optional[Tensor]:
        return None  # the operator draws it

    def found_sampler(self, generator: torch.Generator, n_stages: int) -> None:
        return None

    def log_z_base(self) -> Tensor:
        # At beta = 0 the softplus terms are log 2 each.
        bias = self.bias.double()
        return torch.logaddexp(bias, torch.zeros_like(bias)).sum() + self.rbm.n_hidden * math.log(2)

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
        log_weights, x = torch.ops.torch_ebm.rbm_ais(
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
        return x, log_weights, log_weights.softmax(0).square().sum().reciprocal().nan_to_num(0)

    def base_warning(self, betas: Tensor, estimate: LogZEstimate) -> str:
        return torch.ops.torch_ebm.rbm_base_warning(
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
    path = torch.as_tensor(betas).detach().to("cpu", torch.float64)
    if path.dim() != 1 or len(path) < 2:
        raise ValueError(f"{op}: betas must have shape (K + 1,), K >= 1, got {tuple(path.shape)}")
    if not (path[0] == 0 and path[-1] == 1 and (path.diff() > 0).all()):
        raise ValueError(f"{op}: betas must rise strictly from 0 to 1")
    return path
