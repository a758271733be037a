"""Concrete score matching: what is particular to it.
What all criteria must pass stands in test_criteria.py."""

import pytest
import torch

from criteria_table import BINARY, CATEGORICAL
from energies import FullyVisible, Network
from known_values import all_states, seeded
from neighbours import neighbours
from statistical_checks import check_mean
from torch_ebm import concrete_score_matching

F64 = torch.float64


def definition(energy, x, n_states=0):
    """c(x, x')^2 + 2 c(x, x') - 2 c(x', x) of the concrete scores."""
    total = torch.zeros(len(x), dtype=F64)
    for other in neighbours(x, n_states):
        ahead = torch.exp(energy(x) - energy(other)) - 1
        back = torch.exp(energy(other) - energy(x)) - 1
        total = total + ahead**2 + 2 * ahead - 2 * back
    return total


@pytest.mark.parametrize("options", [{}, {"chunk_size": 100}], ids=["whole", "chunks"])
def test_definition(options):
    energy, x = Network(6, F64), all_states(6)
    terms = concrete_score_matching(energy, x, reduction="none", **options)
    torch.testing.assert_close(terms, definition(energy, x), rtol=1e-10, atol=1e-12)
    states = CATEGORICAL.states
    energy = FullyVisible(torch.randn(9, 9, dtype=F64), torch.randn(9, dtype=F64))
    terms = concrete_score_matching(energy, states, categorical=True, reduction="none", **options)
    torch.testing.assert_close(terms, definition(energy, states, 3), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("population, n_states", [(BINARY, 0), (CATEGORICAL, 3)])
def test_its_expectation_is_the_squared_error_of_concrete_scores(population, n_states):
    x, p = population.states, population.probabilities
    truth = population.energy()
    energy = FullyVisible(1.6 * truth.weight, 0.6 * truth.bias)

    def concrete_scores(e):
        """(N, neighbours) of exp(-e)."""
        scores = [torch.exp(e(x) - e(other)) - 1 for other in neighbours(x, n_states)]
        return torch.stack(scores, 1).detach()

    error = (p[:, None] * (concrete_scores(energy) - concrete_scores(truth)) ** 2).sum()
    norm = (p[:, None] * concrete_scores(truth) ** 2).sum()
    value = concrete_score_matching(energy, x, weights=p, categorical=n_states > 0)
    torch.testing.assert_close(value.detach(), error - norm, rtol=1e-10, atol=0)
    assert error > 0.1


def test_small_differences_are_exact():
    """exp(-2 d) - 2 exp(d) + 1 = -4 d + d^2 - ..., without cancellation."""
    d = 1e-12
    terms = concrete_score_matching(lambda y: d * y.sum(1), torch.zeros(1, 1, dtype=F64))
    torch.testing.assert_close(terms, torch.tensor(-4 * d, dtype=F64), rtol=1e-10, atol=0)


def test_one_example_has_no_lower_bound_but_both_sides_of_an_edge_have():
    def value(x, d):
        return concrete_score_matching(lambda y: d * y.sum(1), torch.tensor(x, dtype=F64)).item()

    alone = [value([[0.0]], d) for d in (0, 4, 8)]
    both = [value([[0.0], [1.0]], d) for d in (0, 4, 8)]
    assert alone[0] > alone[1] > alone[2] < -5000
    assert both[0] < both[1] < both[2]


def test_random_sites_are_without_bias():
    energy, x = Network(5, F64), all_states(5)[[3, 17, 30]]
    generator = seeded(6)
    estimates = [
        concrete_score_matching(energy, x, n_sites=2, reduction="none", generator=generator)
        for _ in range(3000)
    ]
    check_mean(torch.stack(estimates).detach(), definition(energy, x).detach(), what="estimate")


@pytest.mark.parametrize(
    "change, options, match",
    [
        (lambda x: 2 * x, {}, "x must hold zeros and ones only, got 2"),
        (lambda x: x, {"categorical": True}, "x must .*one"),
        (lambda x: x, {"n_sites": 0}, "n_sites must be between 1 and 4, got 0"),
        (lambda x: x, {"chunk_size": 0}, "chunk_size must be at least 1"),
    ],
)
def test_bad_input_is_refused(change, options, match):
    with pytest.raises(ValueError, match=f"concrete_score_matching: {match}"):
        concrete_score_matching(Network(4, F64), change(all_states(4)), **options)
