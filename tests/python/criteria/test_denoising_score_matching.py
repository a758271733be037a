"""Denoising score matching: what is particular to it. What all criteria must pass stands in test_criteria.py."""

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import Gaussian, standard_normal
from known_values import case, seeded
from score_values import NAMES, Recorder, check_value_and_gradients, model
from statistical_checks import check_distribution, check_law, check_mean
from torch_ebm import denoising_score_matching

F64 = torch.float64
SIGMAS = [0.05, 0.3, 1.0]


def noisy(x, seed, **options):
    """Where a call with this seed asks for the score."""
    recorder = Recorder(standard_normal)
    denoising_score_matching(recorder, x, generator=seeded(seed), **options)
    assert len(recorder.asked) == 1
    return recorder.asked[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_stored_values_and_gradients(name, sigma):
    """A shift turns the noise that was drawn into the noise that is stored, and a linear energy turns what the score is
    compared with: s(x + sigma stored) + stored / sigma."""
    x, stored, energy = case(name).array("data"), case(name).array("noise"), model(name)
    change = stored - (noisy(x, 3, sigma=sigma) - x) / sigma

    def shifted(y):
        return energy(y + sigma * change) - (change / sigma * y).sum(1)

    value = denoising_score_matching(shifted, x, sigma=sigma, generator=seeded(3))
    gradients = "grad_dsm0" if sigma == SIGMAS[0] else None
    check_value_and_gradients(name, f"dsm[sigma={sigma:g}]", gradients, energy, value)


def definition(energy, x, moved, sigmas):
    """One example, one dimension at a time."""
    terms = []
    for before, after, sigma in zip(x, moved, sigmas.tolist()):
        score = -torch.autograd.functional.jacobian(lambda y: energy(y[None])[0], after)
        term = 0.0
        for s, a, b in zip(score.flatten(), after.flatten(), before.flatten()):
            term += (s + (a - b) / sigma**2) ** 2 / 2
        terms.append(term)
    return torch.stack(terms)


def image_energy(seed=0):
    torch.manual_seed(seed)
    mlp = torch_ebm.MLP([6, 7, 1], confinement=0.3, dtype=F64)
    return lambda y: mlp(y.flatten(1))


@pytest.mark.parametrize("one_for_each", [False, True])
def test_definition(one_for_each):
    energy, x = image_energy(), torch.randn(5, 2, 3, dtype=F64)
    sigmas = (
        torch.tensor([0.1, 0.5, 1, 2, 3], dtype=F64)
        if one_for_each
        else torch.full((5,), 0.4, dtype=F64)
    )
    sigma = sigmas if one_for_each else 0.4
    expected = definition(energy, x, noisy(x, 4, sigma=sigma), sigmas)

    def terms(**options):
        return denoising_score_matching(
            energy, x, sigma=sigma, reduction="none", generator=seeded(4), **options
        )

    torch.testing.assert_close(terms(weighting="none"), expected, rtol=1e-10, atol=1e-12)
    weighted = sigmas**2 * expected
    torch.testing.assert_close(terms(weighting="sigma_squared"), weighted, rtol=1e-10, atol=1e-12)
    default = weighted if one_for_each else expected
    torch.testing.assert_close(terms(), default, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weighting", [None, "none"])
def test_each_example_draws_one_of_the_levels(weighting):
    energy, x = image_energy(), torch.randn(400, 2, 3, dtype=F64)
    levels = [0.2, 1.0, 3.0]
    options = {"reduction": "none", "weighting": weighting or "sigma_squared"}
    alone = torch.stack(
        [
            denoising_score_matching(energy, x, sigma=s, generator=seeded(5), **options)
            for s in levels
        ]
    )
    options["weighting"] = weighting
    terms = denoising_score_matching(energy, x, sigma=levels, generator=seeded(5), **options)
    same = (terms - alone).abs() < 1e-10 * alone
    assert (same.sum(0) == 1).all() and same.any(1).all()


def test_levels_are_drawn_uniformly_and_apart_from_the_noise():
    x = torch.zeros(30000, 1, dtype=F64)
    levels = [1e-4, 1.0, 1e4]
    moved = noisy(x, 6, sigma=levels).flatten()
    with_noise = noisy(x, 6, sigma=1.0).flatten()
    drawn = (moved / with_noise).log10().div(4).round().long() + 1
    check_law(drawn, torch.full((3,), 1 / 3, dtype=F64))
    for level in range(3):
        check_distribution(with_noise[drawn == level], scipy.stats.norm())


def test_the_noise_is_normal_and_differs_between_examples():
    x = torch.randn(3000, 4, 2, dtype=F64)
    noise = (noisy(x, 7, sigma=0.25) - x) / 0.25
    check_distribution(noise.flatten(), scipy.stats.norm())
    assert len(noise.view(-1, 2).unique(dim=0)) == 12000
    assert not torch.equal(noisy(x, 8, sigma=0.25), noisy(x, 7, sigma=0.25))


COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=F64)
MEAN = torch.tensor([0.5, -0.25], dtype=F64)


def gaussian_data(n, seed):
    noise = torch.randn(n, 2, generator=seeded(seed), dtype=F64)
    return MEAN + noise @ torch.linalg.cholesky(COVARIANCE).T


def test_expectation_for_gaussian_data():
    """For the score -A (x - mean): tr(A (S + sigma^2 I) A) / 2 - tr A + D / (2 sigma^2)."""
    precision = torch.tensor([[1.5, -0.2], [-0.2, 0.7]], dtype=F64)
    for sigma in (0.5, 2.0):
        smoothed = COVARIANCE + sigma**2 * torch.eye(2, dtype=F64)
        expected = (precision @ smoothed @ precision).trace() / 2 - precision.trace() + 1 / sigma**2
        terms = denoising_score_matching(
            Gaussian(MEAN, precision),
            gaussian_data(100_000, 1),
            sigma=sigma,
            reduction="none",
            generator=seeded(9),
        )
        check_mean(terms.detach(), expected, what="denoising score matching")


def test_the_truth_is_the_smoothed_law_and_not_the_law_of_the_data():
    sigma = 0.7
    smoothed = COVARIANCE + sigma**2 * torch.eye(2, dtype=F64)
    x = gaussian_data(100_000, 2)

    def gradient(covariance):
        energy = Gaussian(MEAN, torch.linalg.inv(covariance))
        value = denoising_score_matching(energy, x, sigma=sigma, generator=seeded(10))
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(value, list(energy.parameters()))]
        )

    assert gradient(smoothed).abs().max() < 0.03
    assert gradient(COVARIANCE).abs().max() > 0.3


def test_a_network_of_relu_units_has_a_gradient():
    energy = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    value = denoising_score_matching(lambda y: energy(y).squeeze(1), torch.randn(9, 3), sigma=0.5)
    value.backward()
    assert energy[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "options, match",
    [
        ({"sigma": 0.0}, "sigma must be > 0 and finite, got 0"),
        ({"sigma": -1}, "sigma must be > 0 and finite, got -1"),
        ({"sigma": float("inf")}, "sigma must be > 0 and finite, got inf"),
        ({"sigma": [1.0, 0.0]}, "sigma must be > 0 and finite, got 0"),
        ({"sigma": torch.ones(3)}, r"sigma must be one number.* shape \(\) or \(2,\), got \(3,\)"),
        ({"sigma": torch.tensor([1.0, -2.0])}, "sigma must be > 0 and finite, got -2"),
        ({"sigma": torch.tensor([1.0, float("nan")])}, "sigma must"),
        ({"sigma": 1.0, "weighting": "sigma"}, 'weighting must be .*, got "sigma"'),
    ],
)
def test_bad_options_are_refused_before_anything_is_drawn(options, match):
    generator = seeded(1)
    state = generator.get_state()
    with pytest.raises(ValueError, match=f"denoising_score_matching: {match}"):
        denoising_score_matching(standard_normal, torch.ones(2, 2), generator=generator, **options)
    assert torch.equal(generator.get_state(), state)


def test_a_sigma_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="sigma must not be an empty list"):
        denoising_score_matching(standard_normal, torch.ones(2, 2), sigma=[])
    with pytest.raises(TypeError, match="sigma must be numbers"):
        denoising_score_matching(standard_normal, torch.ones(2, 2), sigma="small")
    with pytest.raises(TypeError, match="sigma must"):
        denoising_score_matching(standard_normal, torch.ones(2, 2), sigma=torch.ones(2).long())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sigma", [0.5, [0.5, 1.0]])
def test_half_precision(dtype, sigma):
    x = torch.randn(200, 3).to(dtype)
    value = torch_ebm.denoising_score_matching(
        lambda y: y.square().sum(1) / 2, x, sigma=sigma, generator=torch.Generator().manual_seed(1)
    )
    exact = torch_ebm.denoising_score_matching(
        lambda y: y.square().sum(1) / 2,
        x.float(),
        sigma=sigma,
        generator=torch.Generator().manual_seed(1),
    )
    assert value.dtype == dtype
    torch.testing.assert_close(value.float(), exact, rtol=0.02, atol=0.02)


def test_the_noise_may_be_the_callers():
    energy = standard_normal
    x = torch.randn(5, 3, dtype=torch.float64, generator=seeded(1))
    noise = torch.randn(5, 3, dtype=torch.float64, generator=seeded(2))
    terms = denoising_score_matching(energy, x, sigma=0.5, noise=noise, reduction="none")
    score = -(x + 0.5 * noise)
    torch.testing.assert_close(terms, (score + noise / 0.5).square().sum(1) / 2)
    with pytest.raises(ValueError, match="noise must have shape that of x"):
        denoising_score_matching(energy, x, sigma=0.5, noise=noise[:4])
    with pytest.raises(ValueError, match="noise must be finite"):
        denoising_score_matching(energy, x, sigma=0.5, noise=noise * float("inf"))
