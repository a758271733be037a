"""The multistate Bennett acceptance ratio against exact values."""

import math

import pytest
import torch

import torch_ebm
from known_values import case, seeded
from statistical_checks import check_count, check_mean

INF = math.inf
MEANS = torch.tensor([0.0, 1.0, 2.5, 4.0], dtype=torch.float64)
SCALES = torch.tensor([1.0, 0.8, 1.5, 0.5], dtype=torch.float64)
LOG_Z = (SCALES / SCALES[0]).log()  # of energies (x - mean)^2 / (2 scale^2)


def normal_samples(counts, generator):
    """counts[k] samples of each state."""
    x = [
        mean + scale * torch.randn(n, dtype=torch.float64, generator=generator)
        for mean, scale, n in zip(MEANS, SCALES, counts)
    ]
    return torch.cat(x)


def normal_energies(counts, generator):
    """Energies (4, N) of counts[k] samples of each state."""
    x = normal_samples(counts, generator)
    return ((x - MEANS[:, None]) / SCALES[:, None]).square() / 2


def weights(energies, counts, log_z):
    """W of Shirts & Chodera (2008), eq. 9, (N, K)."""
    f = (-energies - log_z[:, None]).exp()
    return (f / (counts.double() @ f)).t()


@pytest.mark.parametrize("name", ["mbar_harmonic_k2_s81", "mbar_harmonic_k4_s80"])
def test_stored_samples(name):
    known = case(name)
    estimate = torch_ebm.mbar(known.array("u_kn"), torch.tensor(known.params["N"]))
    f = known.array("mbar_f")
    torch.testing.assert_close(estimate.log_z, f[0] - f, rtol=0, atol=1e-11)
    error = estimate.covariance.diagonal().sqrt()
    torch.testing.assert_close(error, known.array("mbar_dDelta_f"), rtol=1e-10, atol=1e-12)


def test_equations_and_covariance_are_those_of_the_paper():
    counts = torch.tensor([40, 0, 30, 50])
    energies = normal_energies(counts.tolist(), seeded(1))
    estimate = torch_ebm.mbar(energies, counts)
    w = weights(energies, counts, estimate.log_z)
    w = w / w.sum(0)[0]  # log Z is relative to state 0, and so is W
    torch.testing.assert_close(w.sum(0), torch.ones(4).double(), rtol=1e-9, atol=0)
    inner = torch.eye(120, dtype=torch.float64) - w @ counts.double().diag() @ w.t()
    theta = w.t() @ torch.linalg.pinv(inner, hermitian=True) @ w
    expected = theta - theta[0] - theta[0][:, None] + theta[0, 0]
    torch.testing.assert_close(estimate.covariance, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(estimate.overlap, w.t() @ w * counts, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(estimate.overlap.sum(1), torch.ones(4).double())


def test_two_states_are_bennetts():
    energies = normal_energies([70, 90, 0, 0], seeded(2))[:2]
    difference = energies[0] - energies[1]
    bennett = torch_ebm.bridge_sampling(difference[:70], difference[70:])
    estimate = torch_ebm.mbar(energies, torch.tensor([70, 90]))
    assert estimate.log_z[1].item() == pytest.approx(bennett.log_z.item(), abs=1e-11)


def test_one_sampled_state_is_importance_sampling():
    energies = normal_energies([500, 0, 0, 0], seeded(3))
    estimate = torch_ebm.mbar(energies, torch.tensor([500, 0, 0, 0]))
    log_w = energies[0] - energies
    torch.testing.assert_close(estimate.log_z, log_w.logsumexp(1) - math.log(500))
    w = log_w.exp()
    expected = w.var(1, correction=0) / w.mean(1).square() / 500
    torch.testing.assert_close(estimate.covariance.diagonal(), expected, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("counts", [[100, 100, 100, 100], [200, 60, 0, 150]])
def test_mean_and_coverage(counts):
    n_repeats, generator, errors, covered = 500, seeded(4), [], torch.zeros(4)
    for _ in range(n_repeats):
        estimate = torch_ebm.mbar(normal_energies(counts, generator), torch.tensor(counts))
        errors.append(estimate.log_z - LOG_Z)
        covered += errors[-1].abs() <= 1.96 * estimate.covariance.diagonal().sqrt()
    check_mean(torch.stack(errors)[:, 1:], torch.zeros(3), what="error of log Z")
    for k in (1, 2, 3):
        check_count(covered[k], n_repeats, 0.93, "coverage", "less")
        check_count(covered[k], n_repeats, 0.97, "coverage", "greater")


def test_covariance_is_that_of_differences_too():
    counts, generator, differences, stated = [150] * 4, seeded(5), [], []
    for _ in range(500):
        estimate = torch_ebm.mbar(normal_energies(counts, generator), torch.tensor(counts))
        c = estimate.covariance
        differences.append(estimate.log_z[3] - estimate.log_z[2])
        stated.append(c[2, 2] + c[3, 3] - 2 * c[2, 3])
    errors = torch.stack(differences) - (LOG_Z[3] - LOG_Z[2])
    check_mean(errors.square(), torch.stack(stated).mean(), what="squared error")


def test_order_of_the_samples_does_not_matter():
    counts = torch.tensor([40, 20, 30, 50])
    energies = normal_energies(counts.tolist(), seeded(6))
    shuffled = energies[:, torch.randperm(140, generator=seeded(7))]
    for one, other in zip(torch_ebm.mbar(energies, counts), torch_ebm.mbar(shuffled, counts)):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_constants_in_the_energies_are_found_again(size):
    counts = torch.tensor([40, 20, 0, 50])
    energies = normal_energies(counts.tolist(), seeded(8))
    constants = size * torch.tensor([0.3, -1.0, 0.5, 1.0], dtype=torch.float64)
    one = torch_ebm.mbar(energies, counts)
    other = torch_ebm.mbar(energies + constants[:, None], counts)
    expected = one.log_z - (constants - constants[0])
    torch.testing.assert_close(other.log_z, expected, rtol=1e-14, atol=1e-8)
    torch.testing.assert_close(other.covariance, one.covariance, rtol=1e-6, atol=1e-10)


def test_large_constants_do_not_hide_the_overlap():
    # Of each state, of all states, of each sample, and all at once.
    counts = torch.full((5,), 50)
    mean = 0.5 * torch.arange(5, dtype=torch.float64)
    x = (mean[:, None] + torch.randn(5, 50, dtype=torch.float64, generator=seeded(12))).flatten()
    energies = (x - mean[:, None]).square() / 2
    expected = torch_ebm.mbar(energies, counts)
    of_states = 1e6 * torch.arange(5, dtype=torch.float64)[:, None]
    of_samples = 1e7 * torch.rand(250, dtype=torch.float64, generator=seeded(13))
    for constants in (of_states, 1e7 + 0 * of_states, 1e3 * of_states + of_samples):
        estimate = torch_ebm.mbar(energies + constants, counts)
        log_z = estimate.log_z + (constants[:, 0] - constants[0, 0])
        # energies near 1e9 are themselves rounded to 1e-7
        torch.testing.assert_close(log_z, expected.log_z, rtol=0, atol=1e-6)
        torch.testing.assert_close(estimate.covariance, expected.covariance, rtol=1e-5, atol=1e-9)


def test_log_z_far_apart_is_not_a_constant_either():
    # Gamma laws at 200 inverse temperatures: log Z changes by 2e7, by far less between neighbours.
    shape, n = 3e6, 20
    beta = torch.logspace(0, 3, 200, dtype=torch.float64)[:, None].div(1e3).pow(5e-4) * 1e3
    normal = torch.randn(200, n, dtype=torch.float64, generator=seeded(14))
    x = ((shape + math.sqrt(shape) * normal) / beta).flatten()  # the gamma law, near enough
    energies = beta * x - (shape - 1) * x.log()
    estimate = torch_ebm.mbar(energies, torch.full((200,), n))
    expected = -shape * (beta / beta[0]).log().flatten()
    z = (estimate.log_z - expected)[1:] / estimate.covariance.diagonal()[1:].sqrt()
    assert z.abs().max() < 5


def test_little_overlap_is_enough():
    energies = torch.tensor([[0.0, 30.0], [30.0, 0.0]], dtype=torch.float64)
    estimate = torch_ebm.mbar(energies, torch.tensor([1, 1]))
    torch.testing.assert_close(estimate.log_z, torch.zeros(2).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [10.0, 30.0, 100.0])
def test_rough_energies_are_solved_too(scale):
    # Newton's method alone, with every step taken, runs away in about one case of three.
    counts = torch.tensor([28, 14, 20, 22])
    for seed in range(10):
        energies = scale * torch.randn(4, 84, dtype=torch.float64, generator=seeded(seed))
        estimate = torch_ebm.mbar(energies, counts)
        row_sums = weights(energies, counts, estimate.log_z).sum(0)
        torch.testing.assert_close(
            row_sums / row_sums[0], torch.ones(4).double(), rtol=1e-9, atol=0
        )


def test_many_states_of_many_samples_and_single_precision():
    # More samples than a chunk holds.
    generator = seeded(9)
    mean = torch.arange(30, dtype=torch.float64)[:, None]
    x = (mean + torch.randn(30, 500, dtype=torch.float64, generator=generator)).flatten()
    energies = (x - mean).square() / 2
    estimate = torch_ebm.mbar(energies, torch.full((30,), 500))
    z = estimate.log_z[1:] / estimate.covariance.diagonal()[1:].sqrt()
    assert z.abs().max() < 5
    single = torch_ebm.mbar(energies.float(), torch.full((30,), 500))
    assert single.log_z.dtype == torch.float64
    torch.testing.assert_close(single.log_z, estimate.log_z, rtol=0, atol=1e-5)


def test_states_that_forbid_samples():
    # Uniform laws on [0, 1], [0.5, 1.5] and [1, 3]: log Z of 1, 1 and 2.
    u = torch.rand(3, 3000, dtype=torch.float64, generator=seeded(10))
    x = torch.cat([u[0], 0.5 + u[1], 1 + 2 * u[2]])
    inside = torch.stack([x <= 1, (x >= 0.5) & (x <= 1.5), x >= 1])
    energies = torch.zeros(3, 9000).double().masked_fill(~inside, INF)
    estimate = torch_ebm.mbar(energies, torch.full((3,), 3000))
    z = (estimate.log_z - torch.tensor([1, 1, 2]).log())[1:]
    assert (z / estimate.covariance.diagonal()[1:].sqrt()).abs().max() < 5


def test_weights_are_those_of_the_paper():
    counts = torch.tensor([40, 0, 30, 50])
    energies = normal_energies(counts.tolist(), seeded(15))
    w = torch_ebm.mbar_weights(energies, counts)
    expected = weights(energies, counts, torch_ebm.mbar(energies, counts).log_z)
    expected = expected / expected.sum(0)
    torch.testing.assert_close(w, expected.t(), rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(w.sum(1), torch.ones(4).double(), rtol=1e-9, atol=0)


def test_expectation_has_the_errors_of_the_paper():
    # Eqs. 14-15: a column W f / <f> beside those of the states, for positive f.
    counts = torch.tensor([40, 0, 30, 50])
    energies = normal_energies(counts.tolist(), seeded(16))
    f = torch.rand(120, 2, dtype=torch.float64, generator=seeded(17)) + 0.5
    estimate = torch_ebm.mbar_expectation(energies, counts, f)
    w = torch_ebm.mbar_weights(energies, counts).t()
    torch.testing.assert_close(estimate.mean, w.t() @ f)
    inner = torch.eye(120, dtype=torch.float64) - w @ counts.double().diag() @ w.t()
    inner = torch.linalg.pinv(inner, hermitian=True)
    for k in range(4):
        for d in range(2):
            mean = estimate.mean[k, d]
            pair = torch.stack([w[:, k], w[:, k] * f[:, d] / mean], 1)
            theta = pair.t() @ inner @ pair
            expected = mean * (theta[0, 0] + theta[1, 1] - 2 * theta[0, 1]).sqrt()
            torch.testing.assert_close(estimate.std_error[k, d], expected, rtol=1e-7, atol=0)


def test_expectation_from_one_state_is_importance_sampling():
    energies = normal_energies([300, 0, 0, 0], seeded(18))
    counts = torch.tensor([300, 0, 0, 0])
    f = torch.randn(300, dtype=torch.float64, generator=seeded(19))
    estimate = torch_ebm.mbar_expectation(energies, counts, f)
    w = torch.softmax(energies[0] - energies, 1)
    torch.testing.assert_close(estimate.mean, w @ f)
    expected = (w * (f - estimate.mean[:, None])).square().sum(1).sqrt()
    torch.testing.assert_close(estimate.std_error, expected)


@pytest.mark.parametrize("name", ["mbar_harmonic_k2_s81", "mbar_harmonic_k4_s80"])
def test_expectations_of_harmonic_states(name):
    known = case(name)
    x = known.array("x")
    mean, scale = (torch.tensor(known.params[key]).double() for key in ("mus", "sigmas"))
    values = torch.stack([x, x.square()], 1)
    estimate = torch_ebm.mbar_expectation(
        known.array("u_kn"), torch.tensor(known.params["N"]), values
    )
    exact = torch.stack([mean, mean.square() + scale.square()], 1)
    assert ((estimate.mean - exact) / estimate.std_error).abs().max() < 5


def test_errors_of_expectations_are_right():
    counts, generator, means, stated = [150, 0, 150, 100], seeded(20), [], []
    for _ in range(400):
        x = normal_samples(counts, generator)
        energies = ((x - MEANS[:, None]) / SCALES[:, None]).square() / 2
        estimate = torch_ebm.mbar_expectation(energies, torch.tensor(counts), x)
        means.append(estimate.mean)
        stated.append(estimate.std_error.square())
    errors = torch.stack(means) - MEANS
    check_mean(errors, torch.zeros(4), what="error of the mean")
    check_mean(errors.square() - torch.stack(stated), torch.zeros(4), what="squared error")


def test_groups_that_do_not_overlap_are_refused():
    noise = torch.randn(2, 40, dtype=torch.float64, generator=seeded(11))
    far = torch.zeros(2, 40, dtype=torch.float64)
    far[0, 20:] = far[1, :20] = 800.0
    with pytest.raises(ValueError, match="mbar: states fall into groups"):
        torch_ebm.mbar(noise + far, torch.tensor([20, 20]))


@pytest.mark.parametrize(
    "energies, counts, message",
    [
        (torch.zeros(3), torch.tensor([3]), "energies must have shape"),
        (torch.zeros(2, 3), torch.tensor([3]), "counts must have shape"),
        (torch.zeros(2, 3), torch.tensor([3, 1]), "must add up to the number of samples, 3, got 4"),
        (torch.zeros(2, 3), torch.tensor([4, -1]), "must not be negative"),
        (torch.zeros(2, 0), torch.tensor([0, 0]), "number of samples must be at least 1"),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([2]), "must not be NaN or -inf"),
        (torch.tensor([[0.0, -INF]]), torch.tensor([2]), "must not be NaN or -inf"),
        (torch.tensor([[0.0], [INF]]), torch.tensor([1, 0]), "\\+inf at every sample"),
        (torch.tensor([[0.0, INF], [0, 0]]), torch.tensor([2, 0]), "\\+inf at every state"),
    ],
)
def test_wrong_arguments_are_named(energies, counts, message):
    with pytest.raises(ValueError, match="mbar: .*" + message):
        torch_ebm.mbar(energies, counts)


def test_counts_are_integers():
    with pytest.raises(TypeError, match="mbar: counts must be integers"):
        torch_ebm.mbar(torch.zeros(2, 4), torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize(
    "values, message",
    [
        (torch.zeros(3), "values must have shape \\(N, ...\\)"),
        (torch.tensor(0.0), "values must have shape \\(N, ...\\)"),
        (torch.tensor([0.0, 1, math.nan, 0]), "values must be finite"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match="mbar_expectation: " + message):
        torch_ebm.mbar_expectation(torch.zeros(2, 4), torch.tensor([2, 2]), values)
