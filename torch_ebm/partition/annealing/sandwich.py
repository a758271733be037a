"""log Z between two bounds."""

from __future__ import annotations

import functools
from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from ...common._arguments import as_generator
from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, runs_forward_of
from ...energy.noise import NoiseDistribution
from ...models.rbm import RBM
from ...samplers.gibbs import gibbs
from ...samplers.sampler import Sampler
from ..log_z_estimate import LogZEstimate, overlap_estimate
from ._annealing_path import checked_betas, path_of
from .ais_run import AISRun


class Sandwich(NamedTuple):
    """The result of :func:`sandwich`. Prints as one line per estimate, and the warning."""

    forward: LogZEstimate
    """From annealing up, from the base to the model: the stochastic lower bound."""
    reverse: LogZEstimate
    """From annealing down, from the model to the base: the stochastic upper bound."""
    bridge: LogZEstimate
    """From the weights of both directions: usually far better than either."""
    exact_samples: bool
    """Whether annealing down started from exact samples. If not, the upper bound holds only as far
    as the chains that made them have mixed: what they never visit is missing from it.
    """
    warning: str = ""
    """By how much the two directions disagree; empty if they agree."""

    def __str__(self) -> str:
        mixed = "" if self.exact_samples else ", only as far as the chains have mixed"
        lines = [
            f"lower bound: {self.forward}",
            f"upper bound{mixed}: {self.reverse}",
            f"both directions: {self.bridge}",
        ]
        return "\n".join([*lines, self.warning] if self.warning else lines)


@torch.compiler.disable
@names_wrong_types
def sandwich(
    energy: Energy,
    base: Optional[NoiseDistribution] = None,
    sampler: Optional[Sampler] = None,
    *,
    x: Optional[Tensor] = None,
    n_chains: int = 100,
    betas: Union[int, Tensor] = 1000,
    base_visible_bias: Optional[Tensor] = None,
    n_burn_in: int = 1000,
    generator: Optional[torch.Generator] = None,
    progress: bool = False,
) -> Sandwich:
    """log Z between two bounds, by bidirectional Monte Carlo (Grosse, Ghahramani & Adams 2015).

    :func:`torch_ebm.ais` gives a stochastic lower bound on log Z, and
    :func:`torch_ebm.reverse_ais`, from exact samples, an upper bound. The two meet as the number of
    ``betas`` grows; their gap shows whether the annealing is slow enough. The third estimate is
    that of Bennett (1976), from the weights of both directions (Crooks 2000). It is right only if
    the samples are exact and the sampler is reversible, as Metropolis samplers and Gibbs sampling
    with a random scan are; Gibbs sampling in a fixed order is not.

    The samples are ``x``, if given; otherwise exact samples of the model, if it has them
    (:meth:`torch_ebm.RBM.sample`); otherwise the last states of annealing up, resampled by their
    weights and moved ``n_burn_in`` times at beta = 1.

    Args:
        energy, base, sampler, n_chains, betas, base_visible_bias: as for :func:`torch_ebm.ais`,
            except that the default for binary states is Gibbs sampling with a random scan, with as
            many updates as sites at every temperature.
        x: exact, independent samples of the model, (M, ...), M >= 2.
        progress: show progress bars.

    Raises:
        ValueError: ``n_burn_in`` < 0, and as :func:`torch_ebm.ais`.
    """
    if n_burn_in < 0:
        raise ValueError(f"sandwich: n_burn_in must be at least 0, got {n_burn_in}")
    generator = as_generator(generator)
    sampler = _reversible_sampler(energy, base, sampler, base_visible_bias, betas, generator)
    both = {"betas": betas, "base_visible_bias": base_visible_bias, "generator": generator}
    up = AISRun(energy, base, sampler, n_chains=n_chains, **both)
    forward = up.run(progress=progress)
    exact_samples = x is not None or _gives_samples(energy)
    if x is None:
        x = energy.sample(n_chains, generator) if exact_samples else up.samples(n_burn_in)
    reverse = AISRun(energy, base, sampler, x=x, **both).run(progress=progress)
    bridge = torch.ops.torch_ebm._sandwich_bridge(
        forward.log_weights, forward.log_z, reverse.log_weights
    )
    numbers = [n.item() for e in (forward, reverse) for n in (e.log_z, e.lower, e.upper)]
    warning = torch.ops.torch_ebm.sandwich_warning(*numbers)
    return Sandwich(forward, reverse, overlap_estimate(bridge), exact_samples, warning)


def _reversible_sampler(
    energy: Energy,
    base: Optional[NoiseDistribution],
    sampler: Optional[Sampler],
    base_visible_bias: Optional[Tensor],
    betas: Union[int, Tensor],
    generator: torch.Generator,
) -> Optional[Sampler]:
    """One sampler for both directions, from a pilot run if needed; None for an RBM's own path."""
    path = path_of("sandwich", energy, base, sampler, base_visible_bias)
    if sampler is not None or base is None:
        return sampler
    sampler = path.found_sampler(generator, len(checked_betas("sandwich", betas)) - 1)
    if sampler is not gibbs:
        return sampler
    return functools.partial(gibbs, scan="random", n_steps=path.start(1, generator).numel())


def _gives_samples(energy: Energy) -> bool:
    return (
        isinstance(energy, RBM)
        and runs_forward_of(energy, RBM)
        and torch.ops.torch_ebm._rbm_has_exact_samples(energy.weight)
    )
