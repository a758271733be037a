"""Schedules of inverse temperatures."""

import functools
import math

import pytest
import torch

import torch_ebm
from known_values import seeded
from paths import Gaussians


def test_linear_schedule():
    assert torch_ebm.linear_schedule(4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert torch_ebm.linear_schedule(1).dtype == torch.float64


@pytest.mark.parametrize("steepness", [1.0, 4.0])
def test_sigmoid_schedule(steepness):
    betas = torch_ebm.sigmoid_schedule(10, steepness=steepness)
    raw = [1 / (1 + math.exp(-steepness * (2 * k / 10 - 1))) for k in range(11)]
    expected = [(r - raw[0]) / (raw[-1] - raw[0]) for r in raw]
    torch.testing.assert_close(betas, torch.tensor(expected, dtype=torch.float64))
    assert betas[0] == 0 and betas[-1] == 1


def conditional_ess(path, b, to):
    """E[w]^2 / E[w^2] at b for w = f_to / f_b, in closed form."""
    if path.precision(2 * to - b) <= 0:
        return 0.0
    return math.exp(2 * path.log_z(to) - path.log_z(b) - path.log_z(2 * to - b))


@pytest.mark.parametrize("target", [0.9, 0.99])
@pytest.mark.parametrize("s1", [0.2, 3.0])
def test_steps_have_the_conditional_ess_that_is_asked_for(target, s1):
    path = Gaussians(3, 1.0, s1)
    betas = torch_ebm.adaptive_schedule(
        path,
        path.exact(20_000, 0, seeded(1)),
        path.perfect_sampler,
        conditional_ess=target,
        generator=seeded(2),
    )
    assert betas[0] == 0 and betas[-1] == 1 and (betas.diff() > 0).all()
    lost = [1 - conditional_ess(path, a, b) for a, b in zip(betas[:-2], betas[1:-1])]
    # A step is found to 1 part in 16, and what is lost goes with its square.
    assert min(lost) > 0.8 * (1 - target) and max(lost) < 1.15 * (1 - target)
    assert 1 - conditional_ess(path, betas[-2], betas[-1]) < 1.15 * (1 - target)


def test_chains_that_do_not_move_count_by_their_weights():
    path, target = Gaussians(2, 1.0, 0.6), 0.99
    x = path.exact(50, 0, seeded(7))
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    betas = torch_ebm.adaptive_schedule(path, x, stay, conditional_ess=target)
    growth = path.base_energy(x) - path(x)
    assert 1 / growth.softmax(0).square().sum() > 25  # they never resample

    def exact(a, b):
        share, w = (a * growth).softmax(0), ((b - a) * growth).exp()
        return (share @ w) ** 2 / (share @ w.square())

    for a, b in zip(betas[:-2], betas[1:-1], strict=True):
        assert exact(a, b) >= target > exact(a, b + (b - a) / 16)
    assert exact(betas[-2], betas[-1]) >= target


def test_a_path_that_needs_too_many_temperatures_says_so():
    path = Gaussians(3, 1.0, 0.2)
    with pytest.raises(ValueError, match="more than max_temperatures = 5 are needed; at beta = 0."):
        torch_ebm.adaptive_schedule(
            path, path.exact(100, 0, seeded(3)), path.perfect_sampler, max_temperatures=5
        )


def test_an_estimate_along_an_adaptive_schedule():
    path = Gaussians(3, 1.0, 0.2)
    sampler = functools.partial(torch_ebm.mala, step_size=0.01, n_steps=3)
    betas = torch_ebm.adaptive_schedule(
        path, path.exact(100, 0, seeded(4)), sampler, generator=seeded(5)
    )
    chains = torch_ebm.anneal(path, path.exact(500, 0, seeded(6)), betas, sampler)
    estimate = torch_ebm.log_z_from_weights(chains.log_weights, torch.tensor(path.log_z(0)))
    assert abs(estimate.log_z - path.log_z(1)) < estimate.upper - estimate.lower < 0.4


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: torch_ebm.linear_schedule(0), "linear_schedule: n_steps must be at least 1"),
        *[
            (lambda make=make: make(2**32), f"{make.__name__}: n_steps must be below 2^24")
            for make in (
                torch_ebm.linear_schedule,
                torch_ebm.sigmoid_schedule,
                torch_ebm.salakhutdinov_murray_schedule,
            )
        ],
        (lambda: torch_ebm.sigmoid_schedule(0), "sigmoid_schedule: n_steps must be at least 1"),
        (
            lambda: torch_ebm.sigmoid_schedule(3, steepness=-1.0),
            "sigmoid_schedule: steepness must be > 0 and finite, got -1",
        ),
        (
            lambda: torch_ebm.adaptive_schedule(
                Gaussians(1, 1, 1), torch.zeros(3, 1), lambda *_, **__: 0, conditional_ess=1.0
            ),
            "adaptive_schedule: conditional_ess must be in (0, 1), got 1",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_salakhutdinov_murray_is_dense_near_one():
    betas = torch_ebm.salakhutdinov_murray_schedule(14_500)
    ends = torch.tensor([0, 500, 4500, 14_500])
    torch.testing.assert_close(betas[ends], torch.tensor([0, 0.5, 0.9, 1], dtype=torch.float64))
    steps = betas.diff()
    for part, step in zip(steps.split([500, 4000, 10_000]), (1e-3, 1e-4, 1e-5)):
        torch.testing.assert_close(part, torch.full_like(part, step), rtol=1e-9, atol=0)
    for n in (3, 4, 10, 29, 1000):
        betas = torch_ebm.salakhutdinov_murray_schedule(n)
        assert len(betas) == n + 1 and betas[0] == 0 and betas[-1] == 1
        assert (betas.diff() > 0).all()
    with pytest.raises(ValueError, match="n_steps must be at least 3, got 2"):
        torch_ebm.salakhutdinov_murray_schedule(2)
