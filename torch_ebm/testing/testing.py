"""Tests of exactness for *your* energy and sampler, with a stated rate of false alarms.

A wrong acceptance ratio still gives pretty pictures. To detect it, use a model that is small enough
to be enumerated, or a distribution that can be sampled directly: chains that start from exactly the
right distribution must keep it::

    states = testing.enumerate_states((6,))
    testing.check_invariance(my_sampler, my_energy, states).require()

Every check returns a :class:`Check`, whose ``require()`` raises AssertionError if a correct sampler
would look this bad with probability below ``alpha``, one in a million by default. Invariance does
not detect a sampler that never moves: add :func:`check_convergence` or
:func:`check_detailed_balance`, which look at where chains go.

Samplers are as everywhere in the package: called as ``sampler(energy, x, generator=...)``, with
``beta=...`` if one is given, they return :class:`torch_ebm.Samples` or new states (see
:data:`torch_ebm.Sampler`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_beta, as_ladder
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from ..samplers.sampler import Sampler, sampler_argument

#: Cells of a chi-square test with fewer expected counts are pooled.
MIN_EXPECTED = 10


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of a check.

    Attributes:
        what: what was checked.
        p_value: the probability of a result at least this bad if all is right, already multiplied
            by the number of quantities tested.
        detail: the statistic, and where it is worst.
    """

    what: str
    p_value: float
    detail: str

    def require(self, alpha: float = 1e-6) -> None:
        """Raises AssertionError if the p-value is below ``alpha``, the rate of false alarms."""
        if not self.p_value >= alpha:
            raise AssertionError(f"{self.what}: p = {self.p_value:.1e}; {self.detail}")


# --- Statistics -----------------------------------------------------------------------------------


@names_wrong_types
def chi_square_check(counts: Tensor, probabilities: Tensor, what: str = "counts") -> Check:
    """Pearson's test that ``counts`` (K,) were drawn from ``probabilities`` (K,), known up to a
    factor.

    The rarest states are pooled until :data:`MIN_EXPECTED` counts are expected for them.

    Raises:
        ValueError: too few counts for two such cells.
    """
    return Check(*torch.ops.torch_ebm.chi_square_check(counts, probabilities, what))


@names_wrong_types
def mean_check(samples: Tensor, mean: Union[float, Tensor], what: str = "mean") -> Check:
    """A z-test that independent ``samples``, (N,) or (N, D), have this mean in every column."""
    mean = torch.as_tensor(mean, dtype=torch.float64)
    return Check(*torch.ops.torch_ebm.mean_check(samples, mean, what))


# --- Enumerable models ----------------------------------------------------------------------------


@names_wrong_types
def enumerate_states(
    shape: Sequence[int], n_states: int = 2, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """All states of sites arranged in ``shape``, (S, ...), the first site changing fastest.

    Zeros and ones if ``n_states`` is 2, else one-hot vectors in a last dimension of ``n_states``.

    Raises:
        ValueError: more than 2^20 states.
    """
    return torch.ops.torch_ebm.enumerate_states(shape, n_states).to(dtype)


@names_wrong_types
def exact_law(energy: Energy, states: Tensor, beta: Optional[float] = None) -> Tensor:
    """Probabilities (S,) of ``states`` at inverse temperature ``beta``, float64."""
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm.exact_law(argument, states, _as_number(beta))


def _as_number(beta: Optional[float]) -> Optional[float]:
    return None if beta is None else as_beta(beta).item()


def _run(
    op: str,
    sampler: Sampler,
    energy: Energy,
    x: Tensor,
    *,
    beta: Optional[float] = None,
    **options: object,
) -> Any:
    """What the operator ``op`` returns."""
    if beta is None and "beta" in getattr(sampler, "keywords", ()):
        # A call without beta leaves the sampler its own; as an operator it would lose it.
        partial, sampler = sampler, lambda *args, **more: partial(*args, **more)
    with as_argument(energy) as argument, sampler_argument(sampler, energy) as move:
        operator = getattr(torch.ops.torch_ebm, op)
        return operator(move, argument, x, beta=_as_number(beta), **options)


@names_wrong_types
def check_invariance(
    sampler: Sampler,
    energy: Energy,
    states: Tensor,
    *,
    beta: Optional[float] = None,
    n_chains: int = 20_000,
    n_calls: int = 3,
    seed: int = 0,
) -> Check:
    """Chains that start from the exact distribution of ``energy`` on ``states`` (S, ...) still have
    it after ``n_calls``.

    Detects every wrong target, but not a sampler that stays where it is.
    """
    options = {"beta": beta, "n_chains": n_chains, "n_calls": n_calls, "seed": seed}
    return Check(*_run("check_invariance", sampler, energy, states, **options))


@names_wrong_types
def check_convergence(
    sampler: Sampler,
    energy: Energy,
    states: Tensor,
    *,
    start: int = 0,
    beta: Optional[float] = None,
    n_chains: int = 20_000,
    n_calls: int = 100,
    seed: int = 0,
) -> Check:
    """Chains that all start at state number ``start`` have the exact distribution after
    ``n_calls``, which must be many.

    Detects what invariance does not: a sampler that skips a unit, or does not move.
    """
    options = {"beta": beta, "n_chains": n_chains, "n_calls": n_calls, "seed": seed}
    return Check(*_run("check_convergence", sampler, energy, states, start=start, **options))


@names_wrong_types
def transition_counts(
    sampler: Sampler,
    energy: Energy,
    states: Tensor,
    *,
    beta: Optional[float] = None,
    n_chains: int = 4_000,
    seed: int = 0,
) -> Tensor:
    """How often one call leads from state i to state j, (S, S), with ``n_chains`` chains from
    every state.
    """
    options = {"beta": beta, "n_chains": n_chains, "seed": seed}
    return _run("transition_counts", sampler, energy, states, **options)


@names_wrong_types
def check_transitions(counts: Tensor, transition_matrix: Tensor) -> Check:
    """``counts`` of :func:`transition_counts` agree with an exact ``transition_matrix`` (S, S)."""
    return Check(*torch.ops.torch_ebm.check_transitions(counts, transition_matrix))


@names_wrong_types
def check_detailed_balance(counts: Tensor, law: Tensor) -> Check:
    """p_i P_ij = p_j P_ji for all pairs, as for every reversible sampler. A systematic sweep fails
    this.

    With equally many chains from every state, a share p_j / (p_i + p_j) of the moves between i and
    j go from i to j: a binomial test of every pair.
    """
    return Check(*torch.ops.torch_ebm.check_detailed_balance(counts, law))


@names_wrong_types
def check_swap_rule(
    exchange: Callable[..., object],
    energy: Energy,
    states: Tensor,
    betas: Sequence[float],
    *,
    n_chains: int = 20_000,
    seed: int = 0,
) -> Check:
    """Replicas that start from the product of the exact distributions at ``betas`` still have it,
    rung by rung and jointly.

    ``exchange(energy, x, generator=...)`` takes replicas (R, N, ...) and returns them, or an object
    with them as ``x``: a tempering move, with or without transitions at each temperature. Detects
    swaps that use a different energy than the one that the transitions leave invariant, whatever is
    swapped.
    """
    generator = torch.Generator().manual_seed(seed)
    with as_argument(energy) as argument:
        x, laws = torch.ops.torch_ebm._exact_replicas(
            argument, states, as_ladder(betas).tolist(), n_chains=n_chains, generator=generator
        )
    result = exchange(energy, x, generator=generator)
    x = torch.stack(tuple(getattr(result, "x", result)))
    return Check(*torch.ops.torch_ebm._check_replicas(x, states, laws))


# --- Distributions that can be sampled ------------------------------------------------------------


@names_wrong_types
def check_keeps_law(
    sampler: Sampler,
    energy: Energy,
    exact_samples: Tensor,
    *,
    statistics: Optional[Callable[[Tensor], Tensor]] = None,
    beta: Optional[float] = None,
    n_calls: int = 1,
    seed: int = 0,
) -> Check:
    """Chains that start from independent ``exact_samples`` (N, ...) of the distribution keep the
    mean of every statistic.

    ``statistics`` maps states (N, ...) to (N, D); by default the coordinates, their squares and the
    energy. The test is of the differences chain by chain, whose mean is exactly zero, whatever the
    moments of the distribution are.
    """
    run = functools.partial(_run, sampler=sampler, energy=energy, x=exact_samples)
    if statistics is None:
        return Check(*run("check_keeps_law", beta=beta, n_calls=n_calls, seed=seed))
    generator = torch.Generator().manual_seed(seed)
    end = run("_run_sampler", beta=beta, n_calls=n_calls, generator=generator)
    return mean_check(statistics(end) - statistics(exact_samples), 0.0, "kept law")


@names_wrong_types
def check_joint(
    sampler: Sampler,
    energy_given: Callable[[Tensor], Energy],
    prior: Callable[[int, torch.Generator], Tensor],
    data_given: Callable[[Tensor, torch.Generator], Tensor],
    *,
    n_chains: int = 20_000,
    n_rounds: int = 5,
    seed: int = 0,
) -> Check:
    """Geweke's joint test (2004): a sampler of z given data y, between exact draws of y given z.

    Chains start at z ~ ``prior(n_chains, generator)`` and y ~ ``data_given(z, generator)``. A round
    runs the sampler on ``energy_given(y)``, an energy of N rows tied to the N data, and then draws
    y anew. z must keep its prior, and the pair its joint distribution: first and second moments of
    z, and products with y, are compared with a fresh draw.
    """

    def moments(z: Tensor, y: Tensor) -> Tensor:
        z, y = z.flatten(1).double(), y.flatten(1).double()
        products = (z[:, :, None] * y[:, None, :]).flatten(1)
        return torch.cat([z, z.square(), products], 1)

    generator = torch.Generator().manual_seed(seed)
    z = prior(n_chains, generator)
    y = data_given(z, generator)
    fresh = prior(n_chains, generator)
    expected = moments(fresh, data_given(fresh, generator))
    for _ in range(n_rounds):
        z = _run("_run_sampler", sampler, energy_given(y), z, generator=generator)
        y = data_given(z, generator)
    return mean_check(moments(z, y) - expected, 0.0, "joint law")


@names_wrong_types
def check_gradient_vanishes(
    loss: Callable[[], Tensor], parameters: Sequence[Tensor], *, n_repeats: int = 400
) -> Check:
    """The gradient of ``loss()`` in ``parameters`` has mean zero, as it must at the true
    parameters.

    ``loss`` must draw its data, and its negative samples if it has any, anew in every call, from
    the model itself. Detects biased surrogates: a regulariser that is always on, a trace that is
    divided by the dimension.
    """
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss(), list(parameters))])
        for _ in range(n_repeats)
    ]
    return mean_check(torch.stack(gradients), 0.0, "gradient at the truth")
