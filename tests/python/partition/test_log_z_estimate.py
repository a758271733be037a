"""log Z and its error from importance weights."""

import math

import pytest
import scipy.stats
import torch

import torch_ebm
from known_values import seeded
from statistical_checks import check_count


def test_ess_of_99_equal_weights_and_one_heavier():
    log_weights = torch.zeros(100, dtype=torch.float64)
    log_weights[42] = 10.0
    estimate = torch_ebm.log_z_from_weights(log_weights, torch.tensor(0.0))
    heavy = math.exp(10.0)
    expected = (99 + heavy) ** 2 / (99 + heavy**2)
    assert estimate.ess.item() == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(1.009, abs=1e-3)


def test_error_of_many_effective_weights_is_that_of_the_delta_method():
    log_weights = torch.randn(500, dtype=torch.float64, generator=seeded(95)) / 2
    estimate = torch_ebm.log_z_from_weights(log_weights + 700, torch.tensor(2.0))
    w = log_weights.exp()
    std_error = (w.std() / w.mean() / math.sqrt(500)).item()
    assert estimate.log_z.item() == pytest.approx(w.mean().log().item() + 702, rel=1e-14)
    assert estimate.std_error.item() == pytest.approx(std_error, rel=1e-10)
    assert estimate.warning == ""


@pytest.mark.parametrize("spread", [0.2, 1.0, 4.0])
def test_error_of_few_effective_weights_is_at_least_that_of_a_log_normal_law(spread):
    log_weights = torch.tensor([0.0, 1.0, -50.0, 2.0, 0.5, -math.inf], dtype=torch.float64)
    log_weights *= spread
    estimate = torch_ebm.log_z_from_weights(log_weights, torch.tensor(0.0))
    # Of the five finite ones the median is 0.5; above it stand 1 and 2.
    median, variance = 0.5 * spread, (0.5**2 + 1.5**2) / 2 * spread**2
    t = scipy.stats.t.ppf(0.975, 5)
    cox = abs(median + variance / 2 - estimate.log_z.item()) / t
    cox += math.sqrt(variance / 5 + variance**2 / 8)
    w = log_weights.exp()
    delta = (w.std() / w.mean() / math.sqrt(6)).item()
    expected = max(delta, min(math.sqrt(math.expm1(variance) / 5), cox))
    assert estimate.std_error.item() == pytest.approx(expected, rel=1e-3)


def test_the_delta_method_counts_where_its_error_is_the_larger():
    log_weights = torch.full((20,), -math.inf, dtype=torch.float64)
    log_weights[:5] = 1.0
    estimate = torch_ebm.log_z_from_weights(log_weights, torch.tensor(0.0))
    w = log_weights.exp()
    assert estimate.std_error.item() == pytest.approx((w.std() / w.mean() / math.sqrt(20)).item())


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("n", [50, 100, 1000])
def test_intervals_of_log_normal_weights_cover(n, spread):
    n_repeats, covered = 400, 0
    normal = torch.randn(n_repeats, n, dtype=torch.float64, generator=seeded(96))
    for log_weights in spread * normal - spread**2 / 2:  # mean weight 1
        estimate = torch_ebm.log_z_from_weights(log_weights, torch.tensor(0.0))
        covered += bool(estimate.lower <= 0 <= estimate.upper)
    # In 10,000 repeats of each case at least 0.92 were covered.
    check_count(covered, n_repeats, 0.92, "coverage", "less")


def test_warnings_are_said():
    few = torch.zeros(100, dtype=torch.float64)
    few[0] = 10.0
    assert torch_ebm.log_z_from_weights(few, torch.tensor(0.0)).warning.startswith(
        "Only 1.0 of 100 weights"
    )
    wide = torch.linspace(0, 40, 1500, dtype=torch.float64)
    estimate = torch_ebm.log_z_from_weights(wide, torch.tensor(0.0))
    assert estimate.ess > 10 and estimate.upper - estimate.lower > 2
    assert "interval" in estimate.warning and estimate.warning in str(estimate)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 11, 101, 10_000])
def test_quantile_of_students_t(n):
    estimate = torch_ebm.log_z_from_weights(torch.randn(n).double(), torch.tensor(0.0))
    quantile = (estimate.upper - estimate.log_z) / estimate.std_error
    assert quantile.item() == pytest.approx(scipy.stats.t.ppf(0.975, n - 1), rel=1e-2)


def test_weights_of_zero_are_served():
    log_weights = torch.tensor([0.0, -math.inf, 0.0, -math.inf])
    estimate = torch_ebm.log_z_from_weights(log_weights, torch.tensor(0.0))
    assert estimate.log_z.item() == pytest.approx(math.log(0.5)) and estimate.ess.item() == 2


def test_the_base_is_a_number_or_a_tensor():
    weights = torch.randn(50, dtype=torch.float64, generator=seeded(1))
    one, two = (
        torch_ebm.log_z_from_weights(weights, base)
        for base in (2.5, torch.tensor(2.5, dtype=torch.float64))
    )
    assert one.log_z == two.log_z
    torch.testing.assert_close(torch_ebm.log_z_from_weights(weights).log_z + 2.5, one.log_z)
