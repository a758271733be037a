"""Ladders: equal rejection, and the swap rates of a Gaussian, which are known."""

import math

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import seeded


def normal_swap_rate(cold, hot):
    """E min(1, exp((cold - hot)(E(x) - E(y)))) in two dimensions, where E is Exponential(beta)."""
    # E(x) - E(y) has an asymmetric Laplace law; the integral is 2 hot / (cold + hot).
    return 2 * hot / (cold + hot)


def normal(energy, x, *, beta, generator):
    """Independent samples of exp(-beta |x|^2 / 2)."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype) / beta[:, None].sqrt()


def test_the_adapted_ladder_cuts_the_barrier_in_equal_parts():
    betas = torch_ebm.adapt_ladder([1.0, 0.5, 0.0], torch.tensor([0.1, 0.7]))
    # Rejections 0.9 and 0.3: half of 1.2 is two thirds of the first.
    torch.testing.assert_close(betas, torch.tensor([1.0, 1 - 0.5 * 2 / 3, 0.0]).double())
    assert betas.dtype == torch.float64


def test_equal_rates_and_the_ends_stay():
    old = torch.tensor([1.0, 0.7, 0.2, 0.05], dtype=torch.float64)
    for rate in (0.0, 0.4, 1.0):
        torch.testing.assert_close(torch_ebm.adapt_ladder(old, torch.full((3,), rate)), old)
    skewed = torch_ebm.adapt_ladder(old, torch.tensor([1.0, 1.0, 0.0]))
    assert skewed[0] == 1 and skewed[-1] == 0.05 and (skewed.diff() < 0).all()


def test_a_tuned_ladder_of_a_gaussian_is_geometric():
    # The exact rate depends on the ratio of two temperatures alone.
    start = torch.linspace(1, 0.01, 6).double()
    ladder = torch_ebm.tune_ladder(
        standard_normal,
        torch.randn(6, 500, 2, generator=seeded(520)).double(),
        start,
        normal,
        n_rounds=9,
        n_steps=4,
        generator=seeded(521),
    )
    ratio = 0.01 ** (1 / 5)
    exact = ratio ** torch.arange(6).double()
    torch.testing.assert_close(ladder.betas, exact, rtol=0.02, atol=0)
    rate = normal_swap_rate(1, ratio)
    torch.testing.assert_close(ladder.swap_rate, torch.full((5,), rate).double(), rtol=0, atol=0.01)
    assert ladder.barrier == pytest.approx(5 * (1 - rate), abs=0.03)
    assert ladder.suggested_rungs == math.ceil(2 * ladder.barrier) + 1
    assert ladder.x.shape == (6, 500, 2)


@pytest.mark.parametrize(
    "rates, message",
    [
        ([0.5], r"swap_rate must have shape \(R - 1,\)"),
        ([0.5, 1.5], "swap_rate must be in"),
        ([float("nan"), 0.5], "swap_rate must be in"),
    ],
)
def test_bad_rates_are_named(rates, message):
    with pytest.raises(ValueError, match=message):
        torch_ebm.adapt_ladder([1.0, 0.5, 0.1], torch.tensor(rates))


@pytest.mark.parametrize("options", [{"n_rounds": 0}, {"n_rounds": 31}, {"n_steps": 1}])
def test_bad_rounds_are_named(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at"):
        torch_ebm.tune_ladder(standard_normal, torch.ones(2, 3, 1), [1.0, 0.5], normal, **options)
