"""Conditional NCE: its definition, its limit, and asymmetric noise."""

import math

import numpy as np
import pytest
import torch

import torch_ebm
from criteria_table import BINARY, gaussian_population
from known_values import all_states, random_rbm, seeded


def test_definition():
    rbm = random_rbm(4, 3, 1.0, 5)
    x = all_states(4)[[1, 6, 11]]
    noise = all_states(4)[torch.randint(16, (3, 5), generator=seeded(1))]
    log_ratio = torch.randn(3, 5, dtype=torch.float64, generator=seeded(2))
    for ratio in (None, log_ratio):
        terms = torch_ebm.conditional_nce(rbm, x, noise=noise, log_ratio=ratio, reduction="none")
        for n, term in enumerate(terms.tolist()):
            expected = 0.0
            for k in range(5):
                g = rbm(noise[n, k : k + 1]).item() - rbm(x[n : n + 1]).item()
                g += 0.0 if ratio is None else ratio[n, k].item()
                expected += 2 / 5 * math.log1p(math.exp(-g))
            assert term == pytest.approx(expected, rel=1e-10)


def recorded_noise(x, **options):
    """The states that the energy is asked for besides x."""
    seen = []

    def energy(u):
        seen.append(u.detach().clone())
        return u.flatten(1).sum(1)

    torch_ebm.conditional_nce(energy, x, **options)
    return seen[0].view(len(x), -1, *x.shape[1:])


def test_the_noise_is_a_normal_perturbation():
    from scipy.stats import norm

    from statistical_checks import check_distribution, check_uncorrelated_columns

    x = torch.randn(5000, 2, dtype=torch.float64, generator=seeded(1))
    states = recorded_noise(x, sigma=0.3, n_noise=3, generator=seeded(2))
    assert torch.equal(states[:, 0], x) and states.shape == (5000, 4, 2)
    z = (states[:, 1:] - x[:, None]) / 0.3
    check_distribution(z.flatten(), norm)
    check_uncorrelated_columns(torch.cat([z.flatten(1), x], 1))


def test_an_example_draws_the_same_noise_in_a_batch_of_any_size():
    x = torch.randn(7, 2, dtype=torch.float64, generator=seeded(1))
    states = recorded_noise(x, sigma=0.3, n_noise=3, generator=seeded(2))
    fewer = recorded_noise(x[:4], sigma=0.3, n_noise=3, generator=seeded(2))
    assert torch.equal(states[:4], fewer)


def asymmetric_kernel():
    """Transition probabilities p_c(y | x), (16, 16), all positive."""
    logits = torch.randn(16, 16, dtype=torch.float64, generator=seeded(4))
    return torch.softmax(logits, 1)


def test_the_gradient_vanishes_at_the_truth():
    """Exactly, over all pairs, for noise that is not symmetric, but not without its densities."""
    p, energy, kernel = BINARY, BINARY.energy(), asymmetric_kernel()
    i, j = torch.cartesian_prod(torch.arange(16), torch.arange(16)).T
    weights = p.probabilities[i] * kernel[i, j]
    log_ratio = (kernel[i, j] / kernel[j, i]).log()[:, None]

    def gradient(log_ratio):
        loss = torch_ebm.conditional_nce(
            energy, p.states[i], noise=p.states[j][:, None], log_ratio=log_ratio, weights=weights
        )
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, energy.parameters())])

    assert gradient(log_ratio).abs().max() < 1e-12
    assert gradient(None).abs().max() > 1e-3
    assert gradient(-log_ratio).abs().max() > 1e-3


def test_small_perturbations_are_score_matching():
    """(l - 2 log 2) 2 / sigma^2 -> tr(Hessian of log p) + |score|^2 / 2 (Hyvärinen 2005)."""
    population = gaussian_population()
    energy, x = population.energy(), population.states
    nodes, weights = (torch.tensor(a) for a in np.polynomial.hermite_e.hermegauss(8))
    z = torch.cartesian_prod(*[nodes] * x.shape[1])
    w = torch.cartesian_prod(*[weights] * x.shape[1]).prod(1)
    sigma = 1e-3
    with torch.no_grad():
        terms = torch.stack(
            [
                torch_ebm.conditional_nce(
                    energy, x, noise=(x + sigma * one)[:, None], reduction="none"
                )
                for one in z
            ],
            1,
        )
    limit = ((terms * w).sum(1) / w.sum() - 2 * math.log(2)) * 2 / sigma**2
    precision, mean = energy.precision.detach(), energy.mean.detach()
    score = -(x - mean) @ precision
    torch.testing.assert_close(
        limit, -precision.trace() + 0.5 * score.square().sum(1), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "options, match",
    [
        ({}, "either sigma or noise must be given, got neither"),
        ({"sigma": 1.0, "noise": torch.zeros(3, 1, 2)}, "either sigma or noise .* got both"),
        ({"sigma": 0.0}, "sigma must be finite and > 0, got 0"),
        ({"sigma": float("inf")}, "sigma must be finite and > 0, got inf"),
        ({"sigma": 1.0, "n_noise": 0}, "n_noise must be at least 1, got 0"),
        ({"sigma": 1.0, "log_ratio": torch.zeros(3, 1)}, "log_ratio must be left out"),
        ({"noise": torch.zeros(3, 1, 2), "n_noise": 1}, "n_noise must be left out"),
        ({"noise": torch.zeros(3, 2)}, "noise must have shape"),
        ({"noise": torch.zeros(3, 2, 3)}, "noise must have shape"),
        ({"noise": torch.full((3, 1, 2), float("nan"))}, "noise must be finite"),
        ({"noise": torch.zeros(3, 1, 2), "log_ratio": torch.zeros(3)}, "log_ratio must have shape"),
        (
            {"noise": torch.zeros(3, 1, 2), "log_ratio": torch.full((3, 1), float("inf"))},
            "log_ratio must be finite, got inf at example 0",
        ),
    ],
)
def test_bad_options_are_refused_before_a_number_is_drawn(options, match):
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match=f"conditional_nce: {match}"):
        torch_ebm.conditional_nce(
            lambda u: u.sum(1), torch.zeros(3, 2), generator=generator, **options
        )
    assert torch.equal(generator.get_state(), before)
