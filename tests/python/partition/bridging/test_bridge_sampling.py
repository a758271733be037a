"""The ratio of two partition functions from samples of both, against exact values."""

import math

import pytest
import torch

import torch_ebm
from known_values import case, seeded
from statistical_checks import check_count, check_mean

INF = math.inf
BRIDGES = pytest.mark.parametrize("bridge", ["optimal", "geometric"])


def reduced_energies(known):
    """(K, N) energies, and those of the samples of each state in turn."""
    u = known.array("u_kn")
    return u, u.split(known.params["N"], dim=1)


def normal_pair(n_0, n_1, generator, mean=1.0, scale=1.5):
    """Log ratios of exp(-(x - mean)^2 / (2 scale^2)) and exp(-x^2 / 2): log Z_1 / Z_0 = log scale."""
    x_0 = torch.randn(n_0, dtype=torch.float64, generator=generator)
    x_1 = mean + scale * torch.randn(n_1, dtype=torch.float64, generator=generator)
    return [x.square() / 2 - ((x - mean) / scale).square() / 2 for x in (x_0, x_1)]


def meng_wong_iteration(at_0, at_1, n_iterations=3000):
    """Their eq. 4.1 as it stands."""
    l_0, l_1, ratio = at_0.exp(), at_1.exp(), 1.0
    s_0, s_1 = len(l_0) / (len(l_0) + len(l_1)), len(l_1) / (len(l_0) + len(l_1))
    for _ in range(n_iterations):
        up = (l_0 / (s_1 * l_0 + s_0 * ratio)).mean()
        down = (1 / (s_1 * l_1 + s_0 * ratio)).mean()
        ratio = up / down
    return math.log(ratio)


@pytest.mark.parametrize("name, pairs", [("mbar_harmonic_k2_s81", 1), ("mbar_harmonic_k4_s80", 3)])
def test_bennett_of_stored_samples(name, pairs):
    known = case(name)
    _, by_state = reduced_energies(known)
    for k in range(pairs):
        estimate = torch_ebm.bridge_sampling(
            by_state[k][k] - by_state[k][k + 1], by_state[k + 1][k] - by_state[k + 1][k + 1]
        )
        # The stored values are free energies, -log Z.
        assert estimate.log_z.item() == pytest.approx(-known[f"bar[{k},{k + 1}]"], abs=1e-11)
        if f"bar_asym_sd[{k},{k + 1}]" in known._scalars:
            exact = known[f"bar_asym_sd[{k},{k + 1}]"]
            assert estimate.std_error.item() == pytest.approx(exact, rel=0.25)


def test_root_is_the_limit_of_the_iteration():
    at_0, at_1 = normal_pair(300, 50, seeded(1), mean=2.0)
    estimate = torch_ebm.bridge_sampling(at_0, at_1)
    assert estimate.log_z.item() == pytest.approx(meng_wong_iteration(at_0, at_1), abs=1e-12)


def test_geometric_bridge_is_its_closed_form():
    at_0, at_1 = normal_pair(300, 50, seeded(2))
    expected = (at_0 / 2).exp().mean().log() - (-at_1 / 2).exp().mean().log()
    estimate = torch_ebm.bridge_sampling(at_0, at_1, bridge="geometric")
    assert estimate.log_z.item() == pytest.approx(expected.item(), abs=1e-13)


@pytest.mark.parametrize("gap", [5.0, 50.0, 1000.0])
def test_root_is_found_where_the_equation_is_flat(gap):
    # Samples that contradict each other: 100 s = 10, s the sigmoid of gap + log(10 / 100) - log_z.
    at_0, at_1 = torch.full((100,), gap).double(), torch.full((10,), -1e3 - gap).double()
    estimate = torch_ebm.bridge_sampling(at_0, at_1)
    assert estimate.log_z.item() == pytest.approx(gap + math.log(0.9), abs=1e-12)


def test_swapping_the_laws_changes_the_sign_alone():
    at_0, at_1 = normal_pair(300, 50, seeded(3))
    one = torch_ebm.bridge_sampling(at_0, at_1)
    other = torch_ebm.bridge_sampling(-at_1, -at_0)
    assert one.log_z.item() == pytest.approx(-other.log_z.item(), abs=1e-13)
    assert one.std_error.item() == pytest.approx(other.std_error.item(), rel=1e-11)
    assert one.ess.item() == pytest.approx(other.ess.item(), rel=1e-12)


@BRIDGES
@pytest.mark.parametrize("n_0, n_1", [(200, 200), (50, 400)])
def test_mean_and_coverage(bridge, n_0, n_1):
    n_repeats, generator, covered, errors = 500, seeded(4), 0, []
    for _ in range(n_repeats):
        estimate = torch_ebm.bridge_sampling(*normal_pair(n_0, n_1, generator), bridge=bridge)
        error = estimate.log_z - math.log(1.5)
        errors.append([error, (error / estimate.std_error) ** 2])
        covered += bool(estimate.lower <= math.log(1.5) <= estimate.upper)
    errors = torch.tensor(errors)
    # The bias of a logarithm is of the order of the variance, here a tenth of the check's reach.
    check_mean(errors[:, 0], 0.0, what="error of log Z")
    check_count(covered, n_repeats, 0.93, "coverage", "less")
    check_count(covered, n_repeats, 0.97, "coverage", "greater")


def autoregressive(n_steps, n_chains, rho, generator):
    """Stationary chains of N(0, 1) with autocorrelation rho."""
    noise = torch.randn(n_steps, n_chains, dtype=torch.float64, generator=generator)
    x = noise.clone()
    for t in range(1, n_steps):
        x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * noise[t]
    return x


def test_jackknife_over_chains_covers_where_samples_are_autocorrelated():
    n_repeats, covered, naive = 300, 0, 0
    for seed in range(n_repeats):
        generator = seeded(seed)
        x_0 = autoregressive(30, 12, 0.9, generator)
        x_1 = 1 + autoregressive(40, 10, 0.9, generator)
        at_0, at_1 = x_0 - 0.5, x_1 - 0.5
        estimate = torch_ebm.bridge_sampling(at_0, at_1)
        covered += bool(estimate.lower <= 0 <= estimate.upper)
        flat = torch_ebm.bridge_sampling(at_0.flatten(), at_1.flatten())
        assert flat.log_z.item() == pytest.approx(estimate.log_z.item(), abs=1e-12)
        naive += bool(flat.lower <= 0 <= flat.upper)
    check_count(covered, n_repeats, 0.92, "coverage", "less")
    check_count(covered, n_repeats, 0.98, "coverage", "greater")
    assert naive < 0.7 * n_repeats  # what the jackknife is for


def test_jackknife_is_its_definition():
    generator = seeded(5)
    at_0 = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    at_1 = 1 + torch.randn(5, 4, dtype=torch.float64, generator=generator)

    def log_z(a, b):
        return torch_ebm.bridge_sampling(a.flatten(), b.flatten()).log_z

    def variance(values):
        return torch.stack(values).var(correction=0).item() * (len(values) - 1)

    def rest(x, chain):
        return torch.cat([x[:, :chain], x[:, chain + 1 :]], 1)

    expected = variance([log_z(rest(at_0, c), at_1) for c in range(3)])
    expected += variance([log_z(at_0, rest(at_1, c)) for c in range(4)])
    estimate = torch_ebm.bridge_sampling(at_0, at_1)
    assert estimate.std_error.item() == pytest.approx(math.sqrt(expected), rel=1e-9)


@pytest.mark.parametrize("shift", [-700.0, 700.0, 1e5])
def test_a_constant_in_an_energy_is_found_again(shift):
    at_0, at_1 = normal_pair(300, 200, seeded(6))
    one, other = (torch_ebm.bridge_sampling(at_0 + s, at_1 + s) for s in (0.0, shift))
    assert other.log_z.item() - shift == pytest.approx(one.log_z.item(), abs=1e-9)
    assert other.std_error.item() == pytest.approx(one.std_error.item(), rel=1e-8)


def test_supports_that_overlap_in_part():
    # Uniform laws on [0, 1] and [0.5, 2.5]: log Z_1 / Z_0 = log 2.
    x_0 = torch.rand(2000, dtype=torch.float64, generator=seeded(7))
    x_1 = 0.5 + 2 * torch.rand(2000, dtype=torch.float64, generator=seeded(8))
    at_0 = torch.where(x_0 >= 0.5, 0.0, -INF)
    at_1 = torch.where(x_1 <= 1, 0.0, INF)
    for bridge in ("optimal", "geometric"):
        estimate = torch_ebm.bridge_sampling(at_0, at_1, bridge=bridge)
        expected = (at_0 == 0).double().mean().log() - (at_1 == 0).double().mean().log()
        assert estimate.log_z.item() == pytest.approx(expected.item(), abs=1e-12)
        assert abs(estimate.log_z.item() - math.log(2)) < 5 * estimate.std_error.item()


@pytest.mark.parametrize("gap", [30.0, 700.0, 1e4])
def test_laws_that_hardly_overlap_are_answered_with_a_warning(gap):
    noise = torch.randn(2, 100, dtype=torch.float64, generator=seeded(9))
    estimate = torch_ebm.bridge_sampling(noise[0] - gap, noise[1] + gap)
    assert estimate.ess < 1e-6 and estimate.std_error > 1e3
    assert estimate.warning.startswith("Only 0.0 samples") and estimate.warning in str(estimate)


def test_an_estimate_without_weights_prints_itself():
    text = str(torch_ebm.bridge_sampling(*normal_pair(99, 99, seeded(10))))
    assert text.startswith("log Z = ") and "ESS" in text and " of " not in text


@pytest.mark.parametrize(
    "at_0, at_1, options, message",
    [
        (torch.zeros(1), torch.zeros(4), {}, "number of samples must be at least 2, got 1"),
        (torch.zeros(3, 1), torch.zeros(3, 2), {}, "number of chains must be at least 2, got 1"),
        (torch.zeros(0, 2), torch.zeros(3, 2), {}, "number of steps must be at least 1"),
        (torch.zeros(4), torch.zeros(2, 2), {}, "must both be"),
        (torch.zeros(()), torch.zeros(4), {}, "log_ratio_0 must have shape"),
        (torch.tensor([0.0, math.nan]), torch.zeros(4), {}, "log_ratio_0 must not be NaN"),
        (torch.zeros(4), torch.tensor([0.0, -INF]), {}, "log_ratio_1 must not be NaN or -inf"),
        (torch.full((4,), -INF), torch.zeros(4), {}, "log_ratio_0 is infinite for every sample"),
        (torch.zeros(4), torch.zeros(4), {"bridge": "x"}, "must be 'optimal' or 'geometric'"),
    ],
)
def test_wrong_arguments_are_named(at_0, at_1, options, message):
    with pytest.raises(ValueError, match="bridge_sampling: .*" + message):
        torch_ebm.bridge_sampling(at_0, at_1, **options)
    if at_0.dim() == 1:
        with pytest.raises(TypeError):
            torch_ebm.bridge_sampling(at_0.long(), at_1)


def test_reach_through_one_chain_alone_is_refused():
    at_0 = torch.full((5, 3), -INF)
    at_0[:, 1] = 0.0
    with pytest.raises(ValueError, match="come from one chain"):
        torch_ebm.bridge_sampling(at_0, torch.zeros(5, 3))
