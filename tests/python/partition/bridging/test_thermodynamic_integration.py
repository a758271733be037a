"""Thermodynamic integration against exact values."""

import math

import pytest
import torch

import torch_ebm
from known_values import seeded
from statistical_checks import check_count, check_mean

# E_beta(x) = (1 + 8 beta) x^2 / 2: the law N(0, 1 / (1 + 8 beta)), log Z(1) / Z(0) = -log(9) / 2.
EXACT = -math.log(9) / 2


def betas(n):
    """Closer where the integrand bends."""
    return torch.linspace(0, 1, n, dtype=torch.float64) ** 2


def derivatives(path, n, generator):
    noise = torch.randn(len(path), n, dtype=torch.float64, generator=generator)
    return 4 * noise.square() / (1 + 8 * path[:, None])


def test_is_the_trapezoid_with_its_correction():
    path, u = betas(5), derivatives(betas(5), 50, seeded(1))
    mean, variance, step = u.mean(1), u.var(1), path.diff()
    trapezoid = -(step * (mean[1:] + mean[:-1])).sum() / 2
    correction = -(step.square() * (variance[1:] - variance[:-1])).sum() / 12
    plain = torch_ebm.thermodynamic_integration(path, u, corrected=False)
    assert plain.log_z.item() == pytest.approx(trapezoid.item(), abs=1e-12)
    estimate = torch_ebm.thermodynamic_integration(path, u)
    assert estimate.log_z.item() == pytest.approx((trapezoid + correction).item(), abs=1e-12)
    assert torch.equal(estimate.betas, path)


def test_plain_error_is_that_of_a_weighted_sum_of_means():
    path, u = betas(5), derivatives(betas(5), 50, seeded(2))
    step = torch.cat([torch.zeros(1), path.diff(), torch.zeros(1)])
    weight = (step[1:] + step[:-1]) / 2
    expected = (weight.square() * u.var(1) / 50).sum().sqrt()
    estimate = torch_ebm.thermodynamic_integration(path, u, corrected=False)
    assert estimate.std_error.item() == pytest.approx(expected.item(), rel=1e-12)
    assert estimate.ess.item() == pytest.approx(50)


def test_a_path_walked_backward_has_the_other_sign():
    path, u = betas(7), derivatives(betas(7), 50, seeded(3))
    one = torch_ebm.thermodynamic_integration(path, u)
    other = torch_ebm.thermodynamic_integration(path.flip(0), u.flip(0))
    assert one.log_z.item() == pytest.approx(-other.log_z.item(), abs=1e-12)
    assert one.std_error.item() == pytest.approx(other.std_error.item(), rel=1e-12)
    assert (one.upper - one.log_z).item() == pytest.approx((other.upper - other.log_z).item())


@pytest.mark.parametrize("corrected, n_betas", [(True, 9), (True, 8), (False, 41)])
def test_mean_and_coverage(corrected, n_betas):
    path, generator, n_repeats, covered, errors = betas(n_betas), seeded(4), 500, 0, []
    for _ in range(n_repeats):
        u = derivatives(path, 60, generator)
        estimate = torch_ebm.thermodynamic_integration(path, u, corrected=corrected)
        errors.append(estimate.log_z - EXACT)
        covered += bool(estimate.lower <= EXACT <= estimate.upper)
    check_mean(torch.stack(errors), 0.0, what="error of log Z")
    check_count(covered, n_repeats, 0.93, "coverage", "less")
    check_count(covered, n_repeats, 0.98, "coverage", "greater")


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("n_betas", [2, 3, 4, 5, 6])
def test_interval_knows_what_few_temperatures_leave_out(corrected, n_betas):
    path = betas(n_betas)
    u = derivatives(path, 100_000, seeded(5))
    estimate = torch_ebm.thermodynamic_integration(path, u, corrected=corrected)
    if not corrected:
        assert abs(estimate.log_z - EXACT) > 5 * estimate.std_error
    assert estimate.lower <= EXACT <= estimate.upper
    # Not by being endless.
    error = abs(estimate.log_z - EXACT) + estimate.std_error
    assert estimate.upper - estimate.lower < 20 * error


def test_chains_of_a_ladder_cover_where_they_are_autocorrelated():
    path, n_repeats, covered, naive, ess = betas(9), 300, 0, 0, 0.0
    for seed in range(n_repeats):
        generator = seeded(seed)
        # One slow factor a chain, shared by all temperatures.
        noise = torch.randn(9, 20, 10, dtype=torch.float64, generator=generator)
        shared = torch.randn(1, 1, 10, dtype=torch.float64, generator=generator)
        x = math.sqrt(0.7) * noise + math.sqrt(0.3) * shared
        u = 4 * x.square() / (1 + 8 * path[:, None, None])
        estimate = torch_ebm.thermodynamic_integration(path, u)
        covered += bool(estimate.lower <= EXACT <= estimate.upper)
        ess += estimate.ess.item() / n_repeats
        flat = torch_ebm.thermodynamic_integration(path, u.flatten(1))
        naive += bool(flat.lower <= EXACT <= flat.upper)
    check_count(covered, n_repeats, 0.90, "coverage", "less")
    assert naive < 0.8 * n_repeats and ess < 100


@pytest.mark.parametrize(
    "path, u, message",
    [
        (torch.tensor([0.0]), torch.zeros(1, 3), "number of betas must be at least 2"),
        (torch.tensor([0.0, 0.5, 0.5]), torch.zeros(3, 3), "strictly monotone"),
        (torch.tensor([0.0, math.nan]), torch.zeros(2, 3), "betas must be finite"),
        (torch.tensor([0.0, 1.0]), torch.zeros(3, 3), "must have shape \\(R, M\\)"),
        (torch.tensor([0.0, 1.0]), torch.zeros(2, 1), "number of samples must be at least 2"),
        (torch.tensor([0.0, 1.0]), torch.zeros(2, 5, 1), "number of chains must be at least 2"),
        (torch.tensor([0.0, 1.0]), torch.full((2, 5), math.inf), "derivatives must be finite"),
    ],
)
def test_wrong_arguments_are_named(path, u, message):
    with pytest.raises(ValueError, match="thermodynamic_integration: .*" + message):
        torch_ebm.thermodynamic_integration(path, u)
