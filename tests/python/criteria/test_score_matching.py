"""Score matching: what is particular to it. What all criteria must pass stands in test_criteria.py."""

import re

import numpy as np
import pytest
import torch

import torch_ebm
from energies import Gaussian
from known_values import case
from score_values import NAMES, check_value_and_gradients, model
from torch_ebm import score_matching

F64 = torch.float64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"chunk_size": 500}], ids=["whole", "chunks"])
def test_stored_values_and_gradients(name, options):
    energy = model(name)
    value = score_matching(energy, case(name).array("data"), **options)
    check_value_and_gradients(name, "sm", "grad_sm", energy, value)


@pytest.mark.parametrize("name", ["gauss_d2_s70", "gauss_d10_s71"])
def test_the_optimum_of_a_gaussian(name):
    """-tr S^-1 / 2, at the mean and the precision of the data: no penalty moves it."""
    stored = case(name)
    energy = Gaussian(stored.array("sm_opt_mu"), stored.array("sm_opt_P"))
    value = score_matching(energy, stored.array("data"))
    assert abs(value.item() - stored["sm_opt"]) < 1e-10
    for gradient in torch.autograd.grad(value, list(energy.parameters())):
        assert gradient.abs().max() < 1e-10


def definition(energy, x, weight, slope):
    """One example, one dimension at a time."""
    terms = []
    for row in x:
        score = -torch.autograd.functional.jacobian(lambda y: energy(y[None])[0], row)
        curvature = -torch.autograd.functional.hessian(lambda y: energy(y[None])[0], row)
        term = 0.0
        for i, (y, s) in enumerate(zip(row.flatten(), score.flatten())):
            second = curvature.reshape(row.numel(), row.numel())[i, i]
            term += weight(y) * s**2 / 2 + weight(y) * second + slope(y) * s
        terms.append(term)
    return torch.stack(terms)


DOMAINS = {
    "real": ({}, lambda y: 1.0, lambda y: 0.0),
    "nonnegative": ({"domain": "nonnegative"}, lambda y: y**2, lambda y: 2 * y),
    "box": (
        {"domain": "box", "low": -0.5, "high": 2.0},
        lambda y: (y + 0.5) * (2 - y),
        lambda y: 1.5 - 2 * y,
    ),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("chunk_size", [None, 5, 15])
def test_definition(domain, chunk_size):
    options, weight, slope = DOMAINS[domain]
    energy = torch_ebm.MLP([5, 7, 4, 1], confinement=0.3, dtype=F64)
    x = 2 * torch.rand(5, 5, dtype=F64)
    terms = score_matching(energy, x, chunk_size=chunk_size, reduction="none", **options)
    torch.testing.assert_close(terms, definition(energy, x, weight, slope), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, 150], ids=["whole", "chunks"])
def test_passes_that_the_dimensions_do_not_fill(chunk_size):
    """4 of 30 dimensions share a pass, in chunks of 5: the last pass is not full. An example is all of its dimensions,
    whatever their shape."""
    energy = torch_ebm.MLP([30, 8, 1], dtype=F64)
    x = torch.randn(30, 2, 3, 5, dtype=F64)
    terms = score_matching(
        lambda y: energy(y.flatten(1)), x, chunk_size=chunk_size, reduction="none"
    )
    expected = definition(energy, x[:3].flatten(1), lambda y: 1.0, lambda y: 0.0)
    torch.testing.assert_close(terms[:3], expected, rtol=1e-10, atol=1e-12)


def test_dimensions_are_summed():
    """Twice the same dimensions are twice the loss."""
    x = torch.randn(6, 3, dtype=F64)
    energy = lambda y: (y**4).sum(1) / 4  # noqa: E731
    one = score_matching(energy, x)
    torch.testing.assert_close(one, (x**6 / 2 - 3 * x**2).sum(1).mean())
    torch.testing.assert_close(score_matching(energy, torch.cat([x, x], 1)), 2 * one)


def nodes_in(low, high, n=80):
    """A Gauss-Legendre rule on the square (low, high)^2."""
    points, masses = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(n))
    points, masses = (low + high) / 2 + (high - low) / 2 * points, (high - low) / 2 * masses
    return torch.cartesian_prod(points, points), torch.cartesian_prod(masses, masses).prod(1)


SQUARES = {
    "nonnegative": ({"domain": "nonnegative"}, 0.0, 14.0),
    "box": ({"domain": "box", "low": -1.0, "high": 2.0}, -1.0, 2.0),
}


def truncated_gaussian(domain):
    """A law that does not vanish at the ends: its model, its states and their probabilities."""
    options, low, high = SQUARES[domain]
    x, mass = nodes_in(low, high)
    energy = Gaussian(
        torch.tensor([0.5, -0.75], dtype=F64), torch.tensor([[1.0, 0.4], [0.4, 0.8]], dtype=F64)
    )
    p = mass * torch.exp(-energy(x)).detach()
    return energy, options, x, p / p.sum()


@pytest.mark.parametrize("domain", SQUARES)
def test_the_truth_on_a_part_of_the_line(domain):
    energy, options, x, p = truncated_gaussian(domain)
    parameters = list(energy.parameters())
    value = score_matching(energy, x, weights=p, **options)
    for gradient in torch.autograd.grad(value, parameters):
        assert gradient.abs().max() < 1e-10
    without = score_matching(energy, x, weights=p)
    assert max(g.abs().max() for g in torch.autograd.grad(without, parameters)) > 0.1


@pytest.mark.parametrize("domain", SQUARES)
def test_differences_are_those_of_weighted_fisher_divergences(domain):
    truth, options, x, p = truncated_gaussian(domain)
    weight = DOMAINS["nonnegative"][1] if domain == "nonnegative" else lambda y: (y + 1) * (2 - y)

    def score(energy):
        leaf = x.clone().requires_grad_()
        return -torch.autograd.grad(energy(leaf).sum(), leaf)[0]

    def other(scale):
        return lambda y: truth(scale * y) + 0.1 * scale * (y**3).sum(1)

    def divergence(energy):
        return (p[:, None] * weight(x) * (score(energy) - score(truth)) ** 2).sum() / 2

    def criterion(energy):
        return score_matching(energy, x, weights=p, **options)

    torch.testing.assert_close(
        (criterion(other(1.1)) - criterion(other(0.7))).detach(),
        divergence(other(1.1)) - divergence(other(0.7)),
        rtol=1e-9,
        atol=1e-10,
    )


@pytest.fixture
def always_warn():
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


FLAT = {
    "relu": torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)),
    "linear": torch.nn.Linear(3, 1),
    "product": lambda y: y[:, :1] * y[:, 1:2] + y[:, 2:],
}


@pytest.mark.parametrize("name", FLAT)
def test_an_energy_without_second_derivatives_is_told(name, always_warn, capfd):
    x = torch.randn(5, 3)
    value = score_matching(lambda y: FLAT[name](y).squeeze(1), x, reduction="none")
    assert re.search("linear in every x_i.*ReLU.*denoising", capfd.readouterr().err)
    leaf = x.clone().requires_grad_()
    score = torch.autograd.grad(FLAT[name](leaf).sum(), leaf)[0]
    torch.testing.assert_close(value.detach(), score.square().sum(1) / 2)


def test_a_single_curved_dimension_is_enough(always_warn, capfd):
    score_matching(lambda y: y[:, 0] + y[:, 2] ** 2, torch.randn(4, 3), chunk_size=4)
    assert not capfd.readouterr().err


def test_data_may_change_before_the_backward_pass():
    energy = torch_ebm.MLP([4, 6, 1], dtype=F64)
    x = torch.randn(5, 4, dtype=F64)
    expected = torch.autograd.grad(score_matching(energy, x), energy.layers[0].weight)[0]
    for chunk_size in (None, 5):
        buffer = x.clone()
        value = score_matching(energy, buffer, chunk_size=chunk_size)
        buffer.zero_()
        torch.testing.assert_close(torch.autograd.grad(value, energy.layers[0].weight)[0], expected)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"domain": "positive"}, 'domain must be "real", "nonnegative" or "box", got "positive"'),
        ({"domain": "nonnegative"}, "x must be nonnegative .*, got -2"),
        ({"domain": "box", "low": -1, "high": 5}, "x must be between -1 and 5 .*, got -2"),
        ({"domain": "box", "low": -3, "high": 0.5}, "x must be between -3 and 0.5 .*, got 1"),
        ({"domain": "box", "low": -3}, "low and high must be finite, low < high"),
        ({"domain": "box", "low": 3, "high": 3}, "low and high must be finite, low < high"),
        ({"domain": "box", "low": -9, "high": float("inf")}, "low and high must be finite"),
        ({"low": -3.0}, 'low and high must not be given for domain "real"'),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
    ],
)
def test_bad_options_are_refused(options, match):
    x = torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    with pytest.raises(ValueError, match=f"score_matching: {match}"):
        score_matching(lambda y: y.square().sum(1), x, **options)


def test_an_energy_without_a_score_is_refused():
    for energy in (lambda y: torch.ones(len(y)), lambda y: y.detach().sum(1)):
        with pytest.raises(ValueError, match="must depend differentiably on x"):
            score_matching(energy, torch.ones(2, 3))
