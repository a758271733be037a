"""Energy discrepancy: what is particular to it.
What all criteria must pass stands in test_criteria.py."""

import math

import pytest
import torch

from criteria_table import BINARY
from energies import FullyVisible, Gaussian, Network
from known_values import all_states, seeded
from statistical_checks import check_mean
from torch_ebm import energy_discrepancy

F64 = torch.float64


def states_seen(x, seed=3, **options):
    """What the energy is asked for: the data and their contrasts, (M, N, ...)."""
    seen = []

    def energy(y):
        seen.append(y.clone())
        return y.sum(1)

    energy_discrepancy(energy, x, generator=seeded(seed), **options)
    data, contrasts = seen
    assert torch.equal(data, x)
    return contrasts.view(-1, *x.shape)


@pytest.mark.parametrize("stabilisation", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(
    "options, x",
    [({"t": 0.7}, torch.randn(6, 4, dtype=F64)), ({"flip_probability": 0.3}, all_states(4)[:6])],
)
def test_definition(options, x, stabilisation):
    energy = Network(4, F64)
    options = {**options, "n_samples": 5, "stabilisation": stabilisation}
    terms = energy_discrepancy(energy, x, generator=seeded(3), reduction="none", **options)
    contrasts = states_seen(x, **options)
    assert contrasts.shape[0] == 5
    expected = []
    for n in range(6):
        total = stabilisation / 5
        for j in range(5):
            total = total + torch.exp(energy(x[n : n + 1]) - energy(contrasts[j, n : n + 1])) / 5
        expected.append(torch.log(total))
    torch.testing.assert_close(terms, torch.cat(expected), rtol=1e-10, atol=1e-12)


def test_continuous_contrasts_share_the_first_of_two_perturbations():
    """Of the displacement of each the variance is 2 t, and of any two the covariance t."""
    t, n = 0.7, 20000
    x = torch.arange(n, dtype=F64)[:, None].expand(n, 2).clone()
    moved = states_seen(x, t=t, n_samples=3) - x
    check_mean(moved.transpose(0, 1), torch.zeros(6), torch.full((6,), 2 * t), "displacements")
    check_mean((moved**2).mean(0), torch.full((2,), 2 * t), what="squared displacements")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        check_mean(moved[i] * moved[j], torch.full((2,), t), what="products of displacements")
    check_mean(moved[0, :, 0] * moved[1, :, 1], torch.zeros(1), what="two dimensions")


def test_binary_contrasts_share_the_first_of_two_flips():
    eps, n = 0.15, 40000
    x = all_states(2).repeat(n // 4, 1)
    moved = (states_seen(x, flip_probability=eps, n_samples=3) - x).abs()
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    twice = 2 * eps * (1 - eps)  # flipped once in two draws
    both = (1 - eps) * eps**2 + eps * (1 - eps) ** 2  # the same first draw, the other in each
    check_mean(moved.transpose(0, 1), torch.full((6,), twice), what="flips")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        check_mean(moved[i] * moved[j], torch.full((2,), both), what="products of flips")
    check_mean(moved[0, :, 0] * moved[1, :, 1], torch.full((1,), twice**2), what="two units")


def test_many_samples_give_the_energy_discrepancy():
    """At w = 0, as M grows: E(x) + log of exp(-E) smoothed by N(0, t), at y; here of a Gaussian."""
    t, n_samples, precision = 0.5, 1000, 1.6
    energy = Gaussian(torch.zeros(1, dtype=F64), torch.full((1, 1), precision, dtype=F64))
    x = torch.full((2000, 1), 0.8, dtype=F64)
    terms = energy_discrepancy(
        energy, x, t=t, n_samples=n_samples, stabilisation=0, reduction="none", generator=seeded(1)
    ).detach()
    # -log of the integral of N(x'; y, t) exp(-precision x'^2 / 2), and its mean over y ~ N(x, t):
    factor = 1 + t * precision
    smoothed = 0.5 * math.log(factor) + 0.5 * precision * (0.64 + t) / factor
    expected = 0.5 * precision * 0.64 - smoothed
    # The logarithm of a mean of M is too small by its relative variance / 2 M: below 1 / M here.
    bias = 1 / n_samples
    assert terms.std() / math.sqrt(len(terms)) > bias
    check_mean(terms, torch.full((1,), expected), what="energy discrepancy")


def exact_gradient(energy, truth, eps, stabilisation):
    """Of one contrast, over all states of a bit x, its perturbation y and the contrast."""
    x, p = truth.states, truth.probabilities
    flips = (x[:, None] != x[None]).sum(2)
    q = eps**flips * (1 - eps) ** (x.shape[1] - flips)
    e = energy(x)
    value = torch.log(stabilisation + torch.exp(e[:, None] - e[None]))  # of x and x'
    return torch.autograd.grad((p[:, None] * (q @ q) * value).sum(), list(energy.parameters()))


def test_stabilisation_by_one_is_right_for_a_single_contrast_and_none_is_not():
    for stabilisation, right in ((1.0, True), (0.0, False), (3.0, False)):
        found = exact_gradient(BINARY.energy(), BINARY, 0.2, stabilisation)
        largest = max(g.abs().max() for g in found)
        assert (largest < 1e-12) if right else (largest > 1e-3)


@pytest.mark.parametrize("stabilisation", [0.0, 1.0])
def test_the_expected_gradient_is_the_enumerated_one(stabilisation):
    eps, truth = 0.2, BINARY
    energy = FullyVisible(truth.energy().weight + 0.3, truth.energy().bias - 0.2)
    expected = exact_gradient(energy, truth, eps, stabilisation)[1]
    samples = []
    for seed in range(400):
        numbers = torch.multinomial(truth.probabilities, 100, True, generator=seeded(seed))
        value = energy_discrepancy(
            energy,
            truth.states[numbers],
            flip_probability=eps,
            n_samples=1,
            stabilisation=stabilisation,
            generator=seeded(1000 + seed),
        )
        samples.append(torch.autograd.grad(value, energy.bias)[0])
    check_mean(torch.stack(samples), expected, what="gradient")


def test_chains_draw_the_same_in_a_batch_of_any_size():
    x = torch.randn(9, 3, dtype=F64)
    few, many = (states_seen(batch, t=0.4) for batch in (x[:4], x))
    torch.testing.assert_close(few, many[:, :4], rtol=0, atol=0)


@pytest.mark.parametrize(
    "options, match",
    [
        ({}, "either t or flip_probability must be given"),
        ({"t": 1.0, "flip_probability": 0.1}, "either t or flip_probability must be given"),
        ({"t": 0.0}, "t must be > 0 and finite, got 0"),
        ({"t": -1.0}, "t must be > 0 and finite, got -1"),
        ({"t": float("inf")}, "t must be > 0 and finite, got inf"),
        ({"flip_probability": 0.0}, "flip_probability must be between 0 and 1, got 0"),
        ({"flip_probability": 1.0}, "flip_probability must be between 0 and 1, got 1"),
        ({"flip_probability": 0.1}, "x must hold zeros and ones only, got 0.5"),
        ({"t": 1.0, "n_samples": 0}, "n_samples must be at least 1"),
        ({"t": 1.0, "stabilisation": -0.5}, "stabilisation must be >= 0 and finite, got -0.5"),
    ],
)
def test_bad_options_are_refused_and_draw_nothing(options, match):
    x = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    generator = seeded(3)
    with pytest.raises(ValueError, match=f"energy_discrepancy: {match}"):
        energy_discrepancy(lambda y: y.sum(1), x, generator=generator, **options)
    assert torch.equal(generator.get_state(), seeded(3).get_state())
