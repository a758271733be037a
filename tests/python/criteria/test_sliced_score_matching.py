"""Sliced score matching: what is particular to it. What all criteria must pass stands in test_criteria.py."""

import re

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import standard_normal
from known_values import case, seeded
from score_values import NAMES, Recorder, check_value_and_gradients, model
from statistical_checks import check_distribution, check_mean, check_uncorrelated_columns
from torch_ebm import score_matching, sliced_score_matching

F64 = torch.float64


def projections_of(x, seed, **options):
    """The projections, (M, N, ...), that a call with this seed draws: finite differences show them to the energy."""
    recorder = Recorder(standard_normal)
    options |= {"method": "finite_difference", "eps": 1.0, "variance_reduced": False}
    sliced_score_matching(recorder, x, generator=seeded(seed), **options)
    ahead, behind = recorder.asked[1].view(2, -1, *x.shape)
    torch.testing.assert_close(ahead - x, x - behind)
    return ahead - x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variance_reduced", [True, False])
def test_stored_values_and_gradients(name, variance_reduced):
    """Signs of the coordinates turn the projections that were drawn into those that are stored."""
    x, stored, energy = case(name).array("data"), case(name).array("proj"), model(name)
    drawn = projections_of(x, seed=3)[0].sign()
    values = []
    for m in range(stored.shape[1]):
        signs = drawn * stored[:, m]
        reflected = lambda y, signs=signs: energy(x + signs * (y - x))  # noqa: E731
        values.append(
            sliced_score_matching(
                reflected, x, variance_reduced=variance_reduced, generator=seeded(3)
            )
        )
    scalar = "ssm_vr" if variance_reduced else "ssm"
    check_value_and_gradients(name, scalar, f"grad_{scalar}", energy, sum(values) / len(values))


def definition(energy, x, projections, variance_reduced):
    """One example, one projection at a time."""
    terms = []
    for n, row in enumerate(x):
        score = -torch.autograd.functional.jacobian(lambda y: energy(y[None])[0], row)
        hessian = -torch.autograd.functional.hessian(lambda y: energy(y[None])[0], row)
        term = 0.0
        for v in projections[:, n]:
            term += v @ hessian @ v
            term += (score @ score if variance_reduced else (v @ score) ** 2) / 2
        terms.append(term / len(projections))
    return torch.stack(terms)


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
@pytest.mark.parametrize("variance_reduced", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 8])
def test_definition(law, variance_reduced, chunk_size):
    energy = torch_ebm.MLP([3, 7, 4, 1], confinement=0.3, dtype=F64)
    x = torch.randn(4, 3, dtype=F64)
    options = {"projections": law, "n_projections": 5}
    v = projections_of(x, seed=5, **options)
    options |= {
        "variance_reduced": variance_reduced,
        "chunk_size": chunk_size,
        "reduction": "none",
    }
    expected = definition(energy, x, v, variance_reduced)
    terms = sliced_score_matching(energy, x, generator=seeded(5), **options)
    torch.testing.assert_close(terms, expected, rtol=1e-10, atol=1e-12)
    differences = sliced_score_matching(
        energy, x, generator=seeded(5), method="finite_difference", eps=1e-3, **options
    )
    torch.testing.assert_close(differences, expected, rtol=1e-4, atol=1e-5)


def test_finite_differences_are_of_second_order():
    energy = torch_ebm.MLP([3, 9, 1], activation="tanh", dtype=F64)
    x = torch.randn(50, 3, dtype=F64)

    def error(eps, **options):
        exact = sliced_score_matching(energy, x, generator=seeded(1), **options)
        options |= {"method": "finite_difference", "eps": eps}
        return (sliced_score_matching(energy, x, generator=seeded(1), **options) - exact).item()

    for options in ({}, {"variance_reduced": False}):
        assert error(0.08, **options) / error(0.04, **options) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
@pytest.mark.parametrize("variance_reduced", [True, False])
def test_the_mean_over_projections_is_score_matching(law, variance_reduced):
    energy = torch_ebm.MLP([4, 9, 1], confinement=0.5, dtype=F64)
    x = torch.randn(1, 4, dtype=F64)
    terms = sliced_score_matching(
        energy,
        x.expand(40000, -1),
        projections=law,
        variance_reduced=variance_reduced,
        reduction="none",
        generator=seeded(2),
    ).detach()
    check_mean(terms, score_matching(energy, x).detach(), what="sliced score matching")


def test_signs():
    v = projections_of(torch.zeros(20000, 6, dtype=F64), seed=1)[0]
    assert set(v.flatten().tolist()) == {-1.0, 1.0}
    check_mean(v, torch.zeros(6), variance=torch.ones(6))
    check_uncorrelated_columns(v)


def test_normal_numbers():
    v = projections_of(torch.zeros(20000, 6, dtype=F64), seed=1, projections="gaussian")[0]
    check_distribution(v.flatten(), scipy.stats.norm())
    check_uncorrelated_columns(v)


@pytest.mark.parametrize("law", ["rademacher", "gaussian"])
def test_a_projection_is_of_a_whole_example_and_of_it_alone(law):
    options = {"projections": law}
    v = projections_of(torch.zeros(4, 6, 20, dtype=F64), seed=2, n_projections=3, **options)
    rows = v.view(-1, 20)
    assert len(rows.unique(dim=0)) == len(rows)
    flat = projections_of(torch.zeros(4, 120, dtype=F64), seed=2, n_projections=3, **options)
    assert torch.equal(flat.view(v.shape), v)
    fewer = projections_of(torch.zeros(2, 6, 20, dtype=F64), seed=2, n_projections=2, **options)
    assert torch.equal(fewer, v[:2, :2])


def test_any_shape():
    energy = torch_ebm.MLP([12, 5, 1], dtype=F64)
    x = torch.randn(3, 2, 6, dtype=F64)
    for options in ({}, {"variance_reduced": False}, {"method": "finite_difference"}):
        flat = sliced_score_matching(energy, x.flatten(1), generator=seeded(1), **options)
        shaped = sliced_score_matching(
            lambda y: energy(y.flatten(1)), x, generator=seeded(1), **options
        )
        torch.testing.assert_close(shaped, flat)


def test_signs_have_no_variance_where_all_directions_are_alike():
    """Twice the dimensions are twice the loss: nothing is divided by D."""
    x = torch.randn(6, 3, dtype=F64)
    for y in (x, torch.cat([x, x], 1)):
        expected = y.square().sum(1) / 2 - y.shape[1]
        for method in ("autograd", "finite_difference"):
            terms = sliced_score_matching(standard_normal, y, method=method, reduction="none")
            torch.testing.assert_close(terms, expected)


def test_finite_differences_need_no_derivative_of_the_energy():
    def step_by_step(y):
        return standard_normal(y.detach())

    x = torch.randn(6, 3, dtype=F64)
    options = {"method": "finite_difference", "variance_reduced": False}
    value = sliced_score_matching(step_by_step, x, generator=seeded(1), **options)
    expected = sliced_score_matching(
        standard_normal, x, generator=seeded(1), variance_reduced=False
    )
    torch.testing.assert_close(value, expected)


def test_an_energy_without_second_derivatives_is_told(capfd):
    torch.set_warn_always(True)
    try:
        sliced_score_matching(lambda y: y.relu().sum(1), torch.randn(5, 3), n_projections=2)
    finally:
        torch.set_warn_always(False)
    assert re.search("sliced_score_matching: .*ReLU .*denoising", capfd.readouterr().err)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"projections": "sphere"}, 'projections must be .*, got "sphere"'),
        ({"n_projections": 0}, "n_projections must be at least 1, got 0"),
        ({"method": "jvp"}, 'method must be .*, got "jvp"'),
        ({"eps": 0.0}, "eps must be > 0 and finite, got 0"),
        ({"eps": float("nan")}, "eps must be > 0 and finite, got nan"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused_before_anything_is_drawn(options, match):
    generator = seeded(1)
    state = generator.get_state()
    with pytest.raises(ValueError, match=f"sliced_score_matching: {match}"):
        sliced_score_matching(standard_normal, torch.ones(2, 2), generator=generator, **options)
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_differences_in_half_precision_are_refused(dtype):
    with pytest.raises(TypeError, match="x must be in float or double for finite differences"):
        torch_ebm.sliced_score_matching(
            lambda y: y.square().sum(1), torch.randn(4, 3).to(dtype), method="finite_difference"
        )


@pytest.mark.parametrize("method", ["autograd", "finite_difference"])
@pytest.mark.parametrize("variance_reduced", [True, False])
def test_the_projections_may_be_the_callers(method, variance_reduced):
    energy = standard_normal
    x = torch.randn(5, 3, dtype=F64, generator=seeded(1))
    v = torch.randn(2, 5, 3, dtype=F64, generator=seeded(2))
    terms = sliced_score_matching(
        energy, x, projections=v, method=method, variance_reduced=variance_reduced, reduction="none"
    )
    quadratic = x.square().sum(1) if variance_reduced else (v * x).sum(2).square().mean(0)
    torch.testing.assert_close(
        terms, quadratic / 2 - v.square().sum(2).mean(0), rtol=1e-6, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"projections must have shape \(M, N, ...\)"):
        sliced_score_matching(energy, x, projections=v[0])
    with pytest.raises(ValueError, match="n_projections must be left out"):
        sliced_score_matching(energy, x, projections=v, n_projections=2)
