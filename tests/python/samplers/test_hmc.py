"""Hamiltonian Monte Carlo: its map, its acceptance, its path lengths and what it costs."""

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import case, seeded
from statistical_checks import check_law, check_mean
from targets import first_momenta

FIXTURES = ["hmc_gauss_eps0.1_L10", "hmc_gauss_eps0.5_L1", "hmc_gauss_eps0.5_L5"]
FIXTURES.append("hmc_gauss_eps1.2_L3")


def normal(*size, seed=21):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def options(known):
    return {"step_size": known.params["eps"], "n_leapfrog": known.params["L"]}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_transition_is_the_exact_linear_map_of_a_gaussian(name):
    known, x = case(name), normal(500, 1)
    (xx, xp), (px, pp) = known.array("leapfrog_matrix")
    p = first_momenta(x, seed=22)
    result = torch_ebm.hmc(standard_normal, x, **options(known), generator=seeded(22))
    end_x, end_p = xx * x + xp * p, px * x + pp * p
    log_ratio = (x**2 + p**2 - end_x**2 - end_p**2).flatten() / 2
    torch.testing.assert_close(result.acceptance_rate, log_ratio.exp().clamp_max(1))
    moved = (result.x != x).flatten()
    torch.testing.assert_close(result.x[moved], end_x[moved])
    assert moved[log_ratio > 0].all() and moved.double().mean() > 0.85


@pytest.mark.parametrize("name", FIXTURES)
def test_acceptance_is_the_exact_one(name):
    known = case(name)
    for d in (1, 2, 10):
        x = normal(60_000, d, seed=d)
        result = torch_ebm.hmc(standard_normal, x, **options(known), generator=seeded(23))
        check_mean(result.acceptance_rate, known[f"accept_{d}d"], what=f"acceptance in {d}d")


def test_accepted_as_often_as_it_says():
    x = normal(60_000, 10)
    result = torch_ebm.hmc(standard_normal, x, step_size=1.2, n_leapfrog=3, generator=seeded(24))
    moved = (result.x != x).any(1).double()
    check_mean(moved - result.acceptance_rate, 0.0, what="moves")


@pytest.mark.parametrize("n_leapfrog, jitter, least, most", [(10, 0.3, 7, 13), (3, 0.9, 1, 5)])
def test_jittered_paths_are_uniform_over_their_lengths(n_leapfrog, jitter, least, most):
    def flat(x):
        return 0 * x.sum(1)

    def increments(n_leapfrog, jitter, x=torch.zeros(3, 1, dtype=torch.float64), n_steps=2000):
        path = torch_ebm.hmc(
            flat,
            x,
            step_size=1.0,
            n_leapfrog=n_leapfrog,
            jitter=jitter,
            n_steps=n_steps,
            thin=1,
            generator=seeded(25),
        ).trajectory
        return path.diff(dim=0, prepend=x[None]).squeeze(2)

    ratio = increments(n_leapfrog, jitter) / increments(1, 0.0)
    lengths = ratio.round()
    torch.testing.assert_close(ratio, lengths, rtol=1e-6, atol=1e-6)
    assert (lengths == lengths[:, :1]).all()
    n_lengths = most - least + 1
    check_law(lengths[:, 0].long() - least, [1 / n_lengths] * n_lengths)


@pytest.mark.parametrize("n_leapfrog, n_steps", [(1, 1), (7, 1), (7, 5)])
def test_one_evaluation_a_leapfrog_step_and_one_to_start(n_leapfrog, n_steps):
    calls = []

    def counting(x):
        calls.append(x.shape)
        return standard_normal(x)

    torch_ebm.hmc(counting, normal(4, 3), n_leapfrog=n_leapfrog, n_steps=n_steps)
    assert calls == [(4, 3)] * (1 + n_leapfrog * n_steps)


def test_wrong_arguments_are_named():
    x = torch.zeros(3, 2)
    for wrong, message in (
        ({"n_leapfrog": 0}, "n_leapfrog must be at least 1"),
        ({"jitter": 1.0}, r"jitter must be in \[0, 1\)"),
        ({"jitter": -0.1}, r"jitter must be in \[0, 1\)"),
        ({"jitter": float("nan")}, r"jitter must be in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=f"^hmc: {message}"):
            torch_ebm.hmc(standard_normal, x, **wrong)
