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
import math
from collections.abc import Callable, Sequence
from typing import Optional, Union

import torch
from torch import Tensor

from ..common._arguments import as_beta
from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, energies_of, energy_at
from ..samplers.sampler import Sampler, Samples

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
    counts = counts.double().flatten()
    probabilities = probabilities.double().flatten() / probabilities.double().sum()
    impossible = (probabilities == 0) & (counts > 0)
    if impossible.any():
        return Check(what, 0.0, f"state {int(impossible.nonzero()[0])} has probability 0")
    expected, order = (probabilities * counts.sum()).sort()
    counts = counts[order]
    n_pooled = int((expected.cumsum(0) < MIN_EXPECTED).sum()) + 1
    n_pooled = max(n_pooled, int((expected < MIN_EXPECTED).sum()))
    if n_pooled > 1:
        expected = torch.cat([expected[:n_pooled].sum()[None], expected[n_pooled:]])
        counts = torch.cat([counts[:n_pooled].sum()[None], counts[n_pooled:]])
    if len(expected) < 2:
        raise ValueError(f"chi_square_check: {what}: too few counts, {int(counts.sum())}")
    terms = (counts - expected).square() / expected
    worst = int(terms.argmax())
    half_degrees = torch.tensor((len(expected) - 1) / 2).double()
    p_value = torch.special.gammaincc(half_degrees, terms.sum() / 2).item()
    state = int(order[worst + n_pooled - 1]) if worst or n_pooled <= 1 else "of the rarest"
    return Check(
        what,
        p_value,
        f"chi-square {terms.sum().item():.1f} with {len(expected) - 1} degrees of freedom; worst is"
        f" state {state}: {int(counts[worst])} for {expected[worst].item():.1f}",
    )


@names_wrong_types
def mean_check(samples: Tensor, mean: Union[float, Tensor], what: str = "mean") -> Check:
    """A z-test that independent ``samples``, (N,) or (N, D), have this mean in every column."""
    samples = samples.detach().double().reshape(len(samples), -1)
    error = samples.std(0) / math.sqrt(len(samples))
    difference = samples.mean(0) - torch.as_tensor(mean).double().flatten()
    z = torch.where(difference == 0, torch.zeros_like(error), difference / error).abs()
    worst = int(z.nan_to_num(math.inf).argmax())
    return Check(what, _two_sided(z[worst].item(), len(z)), f"|z| = {z[worst]:.2f} in {worst}")


def _two_sided(z: float, n: int) -> float:
    """P(|Z| > z) for the worst of n; a z that is NaN counts as infinite."""
    return 0.0 if math.isnan(z) else min(1.0, math.erfc(z / math.sqrt(2)) * n)


def _together(checks: Sequence[Check], what: str) -> Check:
    worst = min(checks, key=lambda check: check.p_value)
    p_value = min(1.0, worst.p_value * len(checks))
    return Check(what, p_value, f"{worst.what}: {worst.detail}")


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
    n_sites = math.prod(shape)
    if n_states**n_sites > 2**20:
        raise ValueError(f"enumerate_states: {n_states}^{n_sites} states are too many")
    numbers = torch.arange(n_states**n_sites)
    digits = (numbers[:, None] // n_states ** torch.arange(n_sites)) % n_states
    if n_states == 2:
        return digits.to(dtype).view(-1, *shape)
    return torch.nn.functional.one_hot(digits, n_states).to(dtype).view(-1, *shape, n_states)


@names_wrong_types
def exact_law(energy: Energy, states: Tensor, beta: Optional[float] = None) -> Tensor:
    """Probabilities (S,) of ``states`` at inverse temperature ``beta``, float64."""
    energies = energy_at(energy, states, beta)
    return torch.softmax(-energies, 0)


class _Index:
    """Maps states to their numbers, by their values."""

    def __init__(self, states: Tensor) -> None:
        flat = states.flatten(1)
        self._levels = flat.unique()
        self._weights = len(self._levels) ** torch.arange(flat.shape[1], dtype=torch.float64)
        codes, self._order = (self._digits(flat) @ self._weights).sort()
        if (codes.diff() == 0).any() or codes[-1] >= 2**53:
            raise ValueError("testing: states must be distinct, and fewer")
        self._codes = codes

    def _digits(self, flat: Tensor) -> Tensor:
        return torch.searchsorted(self._levels, flat.contiguous()).double()

    def __call__(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        if not torch.isin(flat, self._levels).all():
            raise ValueError("testing: the sampler returned values that no state has")
        position = torch.searchsorted(self._codes, self._digits(flat) @ self._weights)
        position = position.clamp_max(len(self._codes) - 1)
        if not torch.equal(self._codes[position], self._digits(flat) @ self._weights):
            raise ValueError("testing: the sampler returned a state that is not among the states")
        return self._order[position]


def _run(
    sampler: Sampler,
    energy: Energy,
    x: Tensor,
    n_calls: int,
    beta: Optional[float],
    generator: torch.Generator,
) -> Tensor:
    options = {} if beta is None else {"beta": as_beta(beta)}
    x = x.clone()  # a sampler may work in place
    for _ in range(n_calls):
        result = sampler(energy, x, generator=generator, **options)
        x = result.x if isinstance(result, Samples) else result
    return x


def _exact_start(law: Tensor, states: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return states[torch.multinomial(law, n, replacement=True, generator=generator)]


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
    generator, law = torch.Generator().manual_seed(seed), exact_law(energy, states, beta)
    start = _exact_start(law, states, n_chains, generator)
    end = _Index(states)(_run(sampler, energy, start, n_calls, beta, generator))
    return chi_square_check(end.bincount(minlength=len(states)), law, "invariance")


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
    generator, law = torch.Generator().manual_seed(seed), exact_law(energy, states, beta)
    x = states[start].expand(n_chains, *states.shape[1:]).clone()
    end = _Index(states)(_run(sampler, energy, x, n_calls, beta, generator))
    return chi_square_check(end.bincount(minlength=len(states)), law, "convergence")


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
    generator = torch.Generator().manual_seed(seed)
    n_states, index = len(states), _Index(states)
    x = _run(sampler, energy, states.repeat_interleave(n_chains, 0), 1, beta, generator)
    cells = torch.arange(n_states).repeat_interleave(n_chains) * n_states + index(x)
    return cells.bincount(minlength=n_states**2).view(n_states, n_states)


@names_wrong_types
def check_transitions(counts: Tensor, transition_matrix: Tensor) -> Check:
    """``counts`` of :func:`transition_counts` agree with an exact ``transition_matrix`` (S, S)."""
    checks = [
        chi_square_check(row, exact, f"from state {i}")
        for i, (row, exact) in enumerate(zip(counts, transition_matrix, strict=True))
        if (exact > 0).sum() > 1 or row[exact == 0].sum() > 0
    ]
    return _together(checks, "transition matrix")


@names_wrong_types
def check_detailed_balance(counts: Tensor, law: Tensor) -> Check:
    """p_i P_ij = p_j P_ji for all pairs, as for every reversible sampler. A systematic sweep fails
    this.

    With equally many chains from every state, a share p_j / (p_i + p_j) of the moves between i and
    j go from i to j: a binomial test of every pair.
    """
    i, j = torch.triu_indices(*counts.shape, 1)
    moves, total = counts[i, j].double(), (counts[i, j] + counts[j, i]).double()
    share = (law[j].double() / (law[i] + law[j]).double()).nan_to_num(0.5)
    spread = (1 + total * share * (1 - share)).sqrt()
    worst = int(((moves - total * share) / spread).abs().argmax())
    p_value = _binomial_two_sided(int(moves[worst]), int(total[worst]), share[worst])
    detail = (
        f"{int(moves[worst])} of {int(total[worst])} moves between states {int(i[worst])} and"
        f" {int(j[worst])} are of the first kind, for {(total * share)[worst]:.1f}"
    )
    return Check("detailed balance", min(1.0, p_value * len(i)), detail)


def _binomial_two_sided(k: int, n: int, probability: Tensor) -> float:
    """Twice the smaller tail, including k."""
    x = torch.arange(n + 1, dtype=torch.float64)
    size = torch.tensor(float(n), dtype=torch.float64)
    log_choose = torch.lgamma(size + 1) - torch.lgamma(x + 1) - torch.lgamma(size - x + 1)
    pmf = (
        log_choose + torch.xlogy(x, probability) + torch.special.xlog1py(size - x, -probability)
    ).exp()
    return 2 * min(pmf[: k + 1].sum().item(), pmf[k:].sum().item())


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
    generator, index = torch.Generator().manual_seed(seed), _Index(states)
    laws = torch.stack([exact_law(energy, states, beta) for beta in betas])
    x = torch.stack([_exact_start(law, states, n_chains, generator) for law in laws])
    result = exchange(energy, x, generator=generator)
    numbers = [index(rung) for rung in getattr(result, "x", result)]
    checks = [
        chi_square_check(of_rung.bincount(minlength=len(states)), law, f"rung {r}")
        for r, (of_rung, law) in enumerate(zip(numbers, laws, strict=True))
    ]
    for r in range(len(betas) - 1):
        pairs = (numbers[r] * len(states) + numbers[r + 1]).bincount(minlength=len(states) ** 2)
        joint = (laws[r][:, None] * laws[r + 1]).flatten()
        checks.append(chi_square_check(pairs, joint, f"rungs {r} and {r + 1}"))
    return _together(checks, "swap rule")


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

    def default(x: Tensor) -> Tensor:
        flat = x.flatten(1).double()
        energies = energies_of(energy, x).detach().double()
        return torch.cat([flat, flat.square(), energies[:, None]], 1)

    of, generator = statistics or default, torch.Generator().manual_seed(seed)
    end = _run(sampler, energy, exact_samples, n_calls, beta, generator)
    return mean_check(of(end) - of(exact_samples), 0.0, "kept law")


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
        z = _run(sampler, energy_given(y), z, 1, None, generator)
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
