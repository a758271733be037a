"""NUTS: the exact law of a transition given its momenta, by a naive recursive implementation; what it costs, and how
far it moves. What it shares with HMC is tested in test_hamiltonian_samplers.py."""

import math

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import seeded
from statistical_checks import check_mean
from targets import first_momenta, target


class NaiveNUTS:
    """NUTS from one point (x, p), over everything that its coins may do.

    Points of the one orbit are known by an integer. Trees are built by recursion and as slowly as they are defined:
    Hoffman & Gelman 2014, algorithm 3, with the weights and the turns of Betancourt 2017, and Stan's two more turns.
    """

    def __init__(self, energy, x, p, step_size, inverse_mass):
        self.energy, self.h, self.inverse_mass = energy, step_size, inverse_mass
        self.points = {0: self.evaluated(x, p)}
        self.trees = {}

    def evaluated(self, x, p):
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            value = self.energy(x[None])[0]
            (gradient,) = torch.autograd.grad(value, x)
        h = value.item() + 0.5 * (p * p * self.inverse_mass).sum().item()
        return x.detach(), p, gradient, h

    def point(self, k):
        if k not in self.points:
            sign = 1 if k > 0 else -1
            x, p, gradient, _ = self.point(k - sign)
            p = p - sign * self.h / 2 * gradient
            x = x + sign * self.h * self.inverse_mass * p
            gradient = self.evaluated(x, p)[2]
            self.points[k] = self.evaluated(x, p - sign * self.h / 2 * gradient)
        return self.points[k]

    def weight(self, k):
        log_weight = self.point(0)[3] - self.point(k)[3]
        return math.exp(log_weight) if math.isfinite(log_weight) else 0.0

    def turned(self, ks, first, last):
        total = sum(self.point(k)[1] for k in ks) * self.inverse_mass
        return any((self.point(k)[1] * total).sum() <= 0 for k in (first, last))

    def halves_turn(self, a, b):
        """For two neighbouring ranges of points, from the left to the right."""
        return (
            self.turned([*a, *b], a[0], b[-1])
            or self.turned([*a, b[0]], a[0], b[0])
            or self.turned([a[-1], *b], a[-1], b[-1])
        )

    def tree(self, ks, sign):
        """The points that are made in building the range `ks` in the direction `sign`, and whether it stands."""
        if len(ks) == 1:
            return list(ks), self.point(ks[0])[3] - self.point(0)[3] < 1000
        middle = len(ks) // 2
        halves = [ks[:middle], ks[middle:]]
        made = []
        for half in halves[::sign]:
            more, stands = self.tree(half, sign)
            made += more
            if not stands:
                return made, False
        return made, not self.halves_turn(*halves)

    def outcomes(self, max_depth):
        """All (probability, {point: probability}, mean acceptance of the points made, number of points made)."""
        yield from self.grow(range(0, 1), {0: 1.0}, [], 1.0, max_depth)

    def grow(self, ks, law, made, probability, depth_left):
        if depth_left == 0:
            yield self.outcome(law, made, probability)
            return
        for sign in (-1, 1):
            n = len(ks)
            new = range(ks[-1] + 1, ks[-1] + 1 + n) if sign == 1 else range(ks[0] - n, ks[0])
            more, stands = self.tree(new, sign)
            half, made_now = probability / 2, made + more
            if not stands:
                yield self.outcome(law, made_now, half)
                continue
            new_weight = sum(map(self.weight, new)) or 1e-300  # as exp(-1000) is rounded to 0
            move = min(1.0, new_weight / sum(map(self.weight, ks)))
            mixed = {k: (1 - move) * q for k, q in law.items()}
            mixed.update({k: move * self.weight(k) / new_weight for k in new})
            left, right = (ks, new) if sign == 1 else (new, ks)
            if self.halves_turn(left, right):
                yield self.outcome(mixed, made_now, half)
            else:
                joined = range(left[0], right[-1] + 1)
                yield from self.grow(joined, mixed, made_now, half, depth_left - 1)

    def outcome(self, law, made, probability):
        acceptance = sum(min(1.0, self.weight(k)) for k in made) / len(made)
        return probability, law, acceptance, len(made)


def features(x):
    """Numbers (N, K) that tell laws of x (N, d) apart."""
    first = x[:, :1]
    return torch.cat([x, x.square(), first.sin(), (2 * first).cos(), first.abs()], 1)


def expected_by_naive(energy, x, p, step_size, inverse_mass, max_depth, y):
    """The expected features and acceptance, given x and p; fails if y is no point of the orbit."""
    naive = NaiveNUTS(energy, x, p, step_size, inverse_mass)
    acceptance, law = 0.0, {}
    for probability, points, statistic, _ in naive.outcomes(max_depth):
        acceptance += probability * statistic
        for k, q in points.items():
            law[k] = law.get(k, 0) + probability * q
    assert abs(sum(law.values()) - 1) < 1e-9
    states = torch.stack([naive.point(k)[0] for k in law])
    mean = torch.tensor(list(law.values()), dtype=torch.float64) @ features(states)
    possible = states[torch.tensor([q > 0 for q in law.values()])]
    assert (possible - y).abs().amax(1).min() < 1e-8, "not a point that can be chosen"
    return torch.cat([mean, torch.tensor([acceptance], dtype=torch.float64)])


@pytest.mark.parametrize(
    "name, step_size, max_depth, n",
    [
        ("gauss_d2_s70", 0.5, 10, 400),
        ("gmm_d2_k5_s72", 0.8, 10, 400),
        ("doublewell_a4_t0.5", 0.3, 10, 1200),
        ("doublewell_a4_t0.5", 0.3, 1, 3000),
        ("funnel_d2_sv3", 1.0, 3, 400),
    ],
)
def test_transitions_have_the_law_of_the_naive_algorithm(name, step_size, max_depth, n):
    one = target(name)
    x = one.sample(n, 71)
    inverse_mass = torch.linspace(0.7, 1.3, x.shape[1], dtype=torch.float64)
    p = first_momenta(x, 72) / inverse_mass.sqrt()
    result = torch_ebm.nuts(
        one.energy,
        x,
        step_size=step_size,
        max_depth=max_depth,
        inverse_mass=inverse_mass,
        generator=seeded(72),
    )
    expected = torch.stack(
        [
            expected_by_naive(one.energy, *row, step_size, inverse_mass, max_depth, y)
            for *row, y in zip(x, p, result.x)
        ]
    )
    seen = torch.cat([features(result.x), result.acceptance_rate[:, None]], 1)
    # Times a momentum too: forwards and backwards in time are then not the same.
    error = torch.cat([seen - expected, (seen - expected) * p[:, :1]], 1)
    check_mean(error, [0.0] * error.shape[1], what="features given the momenta")


def test_moves_as_far_as_independent_draws_where_a_random_walk_does_not():
    one = target("gauss_d10_s71")
    x = one.sample(4000, 73)
    short, long = (
        torch_ebm.nuts(one.energy, x, step_size=0.15, max_depth=d, generator=seeded(74)).x
        for d in (1, 10)
    )
    independent = (x - x.flip(0)).square().sum(1).mean()
    assert (long - x).square().sum(1).mean() > 0.9 * independent
    assert (short - x).square().sum(1).mean() < 0.1 * independent


@pytest.mark.parametrize("max_depth", [1, 2, 5])
def test_depth_is_limited(max_depth):
    calls = []

    def counting(x):
        calls.append(x.shape)
        return standard_normal(x)

    x = torch.randn(4, 3, generator=seeded(75))
    torch_ebm.nuts(counting, x, step_size=1e-4, max_depth=max_depth, n_steps=2)
    assert calls == [(4, 3)] * (1 + 2 * (2**max_depth - 1))


def test_one_evaluation_a_leapfrog_step_and_one_to_start():
    one, calls = target("gauss_d2_s70"), []

    def counting(x):
        calls.append(1)
        return one.energy(x)

    x, inverse_mass = one.sample(1, 76), torch.ones(2, dtype=torch.float64)
    p = first_momenta(x, 77)
    torch_ebm.nuts(counting, x, step_size=0.3, generator=seeded(77))
    naive = NaiveNUTS(one.energy, x[0], p[0], 0.3, inverse_mass)
    assert len(calls) - 1 in {n for *_, n in naive.outcomes(10)}


def test_a_divergence_ends_the_trajectory_and_shows_in_the_acceptance():
    x = torch.ones(5, 1, dtype=torch.float64)
    result = torch_ebm.nuts(lambda x: (1e6 * x**2).sum(1), x, step_size=10.0)
    assert torch.equal(result.x, x) and (result.acceptance_rate == 0).all()


def test_chains_that_have_stopped_see_finite_states():
    seen = []

    def wall(x):
        seen.append(x.isfinite().all().item())
        return torch.where(x[:, 0].abs() > 1, torch.nan, 50 * standard_normal(x))

    x = 0.1 * torch.randn(300, 2, generator=seeded(78), dtype=torch.float64)
    assert torch_ebm.nuts(wall, x, step_size=0.15, n_steps=10).x.isfinite().all()
    assert all(seen)


@pytest.mark.parametrize("max_depth", [0, -1, 21])
def test_max_depth_must_be_in_range(max_depth):
    with pytest.raises(ValueError, match=r"^nuts: max_depth must be in \[1, 20\], got"):
        torch_ebm.nuts(standard_normal, torch.zeros(3, 2), max_depth=max_depth)
