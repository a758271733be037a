"""Underdamped Langevin dynamics: its one-step law, exactness on Gaussians, the order of its bias, and what it costs."""

import math

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import standard_normal
from known_values import case, seeded
from statistical_checks import check_distribution
from targets import target


def normal(*size, seed=41):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def linear_step(h, friction, curvature, inverse_mass):
    """BAOAB on E = curvature x^2 / 2 as (x, p) <- matrix (x, p) + noise column times N(0, 1)."""
    kick = torch.tensor([[1, 0], [-h / 2 * curvature, 1]], dtype=torch.float64)
    drift = torch.tensor([[1, h / 2 * inverse_mass], [0, 1]], dtype=torch.float64)
    kept = math.exp(-friction * h)
    forget = torch.tensor([[1, 0], [0, kept]], dtype=torch.float64)
    noise = torch.tensor([0, math.sqrt((1 - kept**2) / inverse_mass)], dtype=torch.float64)
    return kick @ drift @ forget @ drift @ kick, kick @ drift @ noise


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_moments_after_a_few_steps_are_those_of_the_splitting(n_steps):
    h, friction, curvature, inverse_mass, start = 0.6, 0.7, 1.5, 0.8, 2.0
    matrix, noise = linear_step(h, friction, curvature, inverse_mass)
    mean = torch.tensor([start, 0], dtype=torch.float64)
    covariance = torch.diag(torch.tensor([0, 1 / inverse_mass], dtype=torch.float64))
    for _ in range(n_steps):
        mean = matrix @ mean
        covariance = matrix @ covariance @ matrix.T + torch.outer(noise, noise)
    x = torch_ebm.underdamped_langevin(
        lambda x: curvature * standard_normal(x),
        torch.full((100_000, 1), start, dtype=torch.float64),
        step_size=h,
        friction=friction,
        inverse_mass=torch.tensor(inverse_mass),
        n_steps=n_steps,
        generator=seeded(42),
    ).x
    check_distribution(
        x.flatten(), scipy.stats.norm(mean[0], covariance[0, 0].sqrt()), "law after a few steps"
    )


@pytest.mark.parametrize("name", ["gauss_d2_s70", "gauss_d10_s71"])
def test_a_long_run_on_a_gaussian_is_exact(name):
    one = target(name)
    largest = torch.linalg.eigvalsh(case(name).array("P"))[-1].item()
    x = torch_ebm.underdamped_langevin(
        one.energy,
        one.sample(20_000, 43),
        step_size=1.5 / math.sqrt(largest),
        friction=1.0,
        n_steps=80,
        generator=seeded(44),
    )
    one.check(x.x)
    assert (x.acceptance_rate == 1).all()


def logistic_energy(x):
    """p(x) = sech(x)^2 / 2: curved between 0 and 2."""
    return 2 * (x.abs() + torch.log1p((-2 * x.abs()).exp())).sum(1)


def test_bias_elsewhere_falls_faster_than_the_step():
    # Started from the law itself. What halving the step leaves of the bias of E[x^2] is below the half that a method
    # of first order would leave.
    start = torch.rand(200_000, 1, generator=seeded(45), dtype=torch.float64).logit() / 2
    bias, error = {}, {}
    for h in (0.6, 1.2):
        squares = torch_ebm.underdamped_langevin(
            logistic_energy, start, step_size=h, n_steps=round(12 / h), generator=seeded(46)
        ).x.square()
        bias[h] = squares.mean().item() - math.pi**2 / 12
        error[h] = squares.std().item() / math.sqrt(len(squares))
    assert abs(bias[1.2]) > 6 * error[1.2], "too small to measure"
    assert abs(bias[0.6]) < abs(bias[1.2]) / 2 - error[0.6], bias


def test_one_evaluation_a_step_and_one_to_start():
    calls = []

    def counting(x):
        calls.append(x.shape)
        return standard_normal(x)

    torch_ebm.underdamped_langevin(counting, normal(4, 3), n_steps=9)
    assert calls == [(4, 3)] * 10


def test_a_run_that_is_not_finite_is_stopped_and_named():
    with pytest.raises(ValueError, match="underdamped_langevin: the (state|score) of chain 0"):
        torch_ebm.underdamped_langevin(
            lambda x: (x**4).sum(1), torch.full((2, 1), 1e3), step_size=10.0, n_steps=50
        )


@pytest.mark.parametrize("friction", [0.0, -1.0, float("nan"), float("inf")])
def test_friction_must_be_positive(friction):
    with pytest.raises(ValueError, match="friction must be > 0 and finite"):
        torch_ebm.underdamped_langevin(standard_normal, torch.zeros(2, 1), friction=friction)
