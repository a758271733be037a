"""Log-likelihoods of examples with their errors, and comparisons of two models."""

import math

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import Network
from known_values import all_states, exact_samples, random_rbm, seeded
from statistical_checks import check_count
from torch_ebm import LogZEstimate, compare_log_likelihoods, log_likelihood

N_REPEATS = 600


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def estimate(log_z=10.0, std_error=0.2, lower=9.5, upper=10.9, warning=""):
    numbers = map(number, (log_z, std_error, lower, upper, 50.0))
    return LogZEstimate(*numbers, torch.zeros(60).double(), warning=warning)


def first_column(x):
    return -x[:, 0]


def data(n=7):
    return torch.randn(n, 3, dtype=torch.float64, generator=seeded(1))


def t_quantile(n):
    return scipy.stats.t.ppf(0.975, n - 1)


def noisy_log_z(rbm, generator, n=60):
    """An unbiased estimate of Z, from 60 log-normal weights."""
    log_weights = 0.5 * torch.randn(n, dtype=torch.float64, generator=generator) - 0.125
    return torch_ebm.log_z_from_weights(log_weights, rbm.log_z().detach())


def models():
    """Two RBMs that resemble each other, the law of the first, and their exact log p."""
    a = random_rbm(5, 3, 1.0, seed=2)
    b = random_rbm(5, 3, 1.0, seed=2)
    with torch.no_grad():
        b.weight.mul_(0.7)
        log_p = [-m(all_states(5)) - m.log_z() for m in (a, b)]
    return a, b, log_p[0].exp(), log_p


# --- One model ------------------------------------------------------------------------------------


def test_values_and_the_error_of_the_data():
    x = data()
    result = log_likelihood(first_column, x, 2.0)
    torch.testing.assert_close(result.values, x[:, 0] - 2, rtol=0, atol=1e-15)
    assert result.mean.item() == pytest.approx(x[:, 0].mean().item() - 2)
    error = x[:, 0].std().item() / math.sqrt(7)
    assert result.data_error.item() == result.std_error.item() == pytest.approx(error)
    assert result.log_z_error == 0 and result.warning == ""
    arm = t_quantile(7) * error
    assert (result.upper - result.mean).item() == pytest.approx(arm, rel=2e-3)
    assert (result.mean - result.lower).item() == pytest.approx(arm, rel=2e-3)


def test_log_z_brings_its_error_interval_and_warning():
    x = data()
    alone = log_likelihood(first_column, x, 10.0)
    result = log_likelihood(first_column, x, estimate(warning="Doubt."))
    assert torch.equal(result.values, alone.values)
    assert torch.equal(result.data_error, alone.data_error) and result.log_z_error == 0.2
    assert result.std_error.item() == pytest.approx(math.hypot(alone.data_error, 0.2))
    arm = (alone.upper - alone.mean).item()
    # log Z may be 0.9 larger, and 0.5 smaller.
    assert (result.mean - result.lower).item() == pytest.approx(math.hypot(arm, 0.9))
    assert (result.upper - result.mean).item() == pytest.approx(math.hypot(arm, 0.5))
    assert result.warning == "Doubt." and str(result).endswith("of log Z. Doubt.")
    assert str(result).startswith(f"log-likelihood = {result.mean:.4f} [") and "\n" not in str(
        result
    )


@pytest.mark.parametrize("log_z", [2, 2.0, torch.tensor(2.0), number(2.0).requires_grad_()])
def test_an_exact_log_z_is_any_number(log_z):
    result = log_likelihood(first_column, data(), log_z)
    assert torch.equal(result.mean, log_likelihood(first_column, data(), number(2.0)).mean)
    assert not any(t.requires_grad for t in result[:7])


def test_batches_change_nothing():
    sizes = []

    def energy(x):
        sizes.append(len(x))
        return first_column(x)

    whole = log_likelihood(first_column, data(), estimate())
    parts = log_likelihood(energy, data(), estimate(), batch_size=3)
    assert sizes == [3, 3, 1] and all(map(torch.equal, whole[:7], parts[:7]))
    pair = compare_log_likelihoods(energy, lambda x: 0 * x[:, 0], data(), 1, 2, batch_size=4)
    assert sizes[3:] == [4, 3] and pair.mean.item() == pytest.approx(whole.mean.item() + 11)


def test_single_precision_is_summed_in_double():
    x = torch.full((1000, 1), 0.1)
    result = log_likelihood(lambda x: x[:, 0], x, 0.0)
    assert result.values.dtype == torch.float64
    assert result.mean.item() == pytest.approx(-float(torch.tensor(0.1)), rel=1e-14)


def test_a_forbidden_example_makes_the_mean_minus_infinity():
    result = log_likelihood(lambda x: torch.where(x[:, 0] > 0, x[:, 0], math.inf), data(), 0.0)
    assert result.mean == -math.inf and result.data_error.isnan() and "-inf" in str(result)


def test_intervals_of_the_mean_cover():
    rbm, _, p, log_p = models()
    exact = (p * log_p[0]).sum()
    generator, covered, without = seeded(3), 0, 0
    x = exact_samples(p, 80 * N_REPEATS, 5, seed=4).view(N_REPEATS, 80, 5)
    for examples in x:
        log_z = noisy_log_z(rbm, generator)
        result = log_likelihood(rbm, examples, log_z)
        covered += bool(result.lower <= exact <= result.upper)
        alone = log_likelihood(rbm, examples, log_z.log_z)
        without += bool(alone.lower <= exact <= alone.upper)
    check_count(covered, N_REPEATS, 0.93, "coverage", "less")
    check_count(covered, N_REPEATS, 0.98, "coverage", "greater")
    assert without < covered  # the error of log Z counts


# --- Two models -----------------------------------------------------------------------------------


def test_a_comparison_is_of_the_differences():
    x, log_z_a, log_z_b = data(), estimate(), estimate(3.0, 0.1, 2.7, 3.2)
    result = compare_log_likelihoods(first_column, lambda x: x[:, 1], x, log_z_a, log_z_b)
    differences = x[:, 0] + x[:, 1] - 7
    torch.testing.assert_close(result.differences, differences)
    error = differences.std().item() / math.sqrt(7)
    assert result.data_error.item() == pytest.approx(error)
    assert result.log_z_error.item() == pytest.approx(math.hypot(0.2, 0.1))
    assert result.std_error.item() == pytest.approx(math.sqrt(error**2 + 0.05))
    arm = t_quantile(7) * error
    below = math.sqrt(arm**2 + 0.9**2 + 0.3**2)
    above = math.sqrt(arm**2 + 0.5**2 + 0.2**2)
    assert (result.mean - result.lower).item() == pytest.approx(below, rel=2e-3)
    assert (result.upper - result.mean).item() == pytest.approx(above, rel=2e-3)


def test_pairing_takes_out_what_both_models_find_hard():
    a, b, p, _ = models()
    x = exact_samples(p, 500, 5, seed=5)
    pair = compare_log_likelihoods(a, b, x, a.log_z(), b.log_z())
    each = [log_likelihood(m, x, m.log_z()) for m in (a, b)]
    assert pair.mean.item() == pytest.approx((each[0].mean - each[1].mean).item())
    unpaired = math.hypot(each[0].data_error, each[1].data_error)
    assert pair.data_error < 0.3 * unpaired
    assert pair.lower > 0 and each[0].mean - each[1].mean < 1.96 * unpaired


def test_intervals_of_the_difference_cover():
    a, b, p, log_p = models()
    exact = (p * (log_p[0] - log_p[1])).sum()
    generator, covered = seeded(6), 0
    x = exact_samples(p, 40 * N_REPEATS, 5, seed=7).view(N_REPEATS, 40, 5)
    for examples in x:
        log_z = [noisy_log_z(m, generator) for m in (a, b)]
        result = compare_log_likelihoods(a, b, examples, *log_z)
        covered += bool(result.lower <= exact <= result.upper)
    check_count(covered, N_REPEATS, 0.93, "coverage", "less")
    check_count(covered, N_REPEATS, 0.98, "coverage", "greater")


def test_a_comparison_is_a_sentence():
    def sentence(shift, **options):
        b = estimate(10.0 + shift, 0.1, 9.8 + shift, 10.2 + shift, **options)
        return str(compare_log_likelihoods(first_column, first_column, data(), 10.0, b))

    assert sentence(1) == "A is better by 1.0000 nats per example [0.8000, 1.2000]"
    assert sentence(-1) == "B is better by 1.0000 nats per example [0.8000, 1.2000]"
    unknown = sentence(0.1, warning="Doubt.")
    beginning = "No significant difference: A - B = 0.1000 nats per example [-0.1000,"
    assert unknown.startswith(beginning) and unknown.endswith(". Of B: Doubt.")


def test_swapping_the_models_changes_the_sign():
    a, b = estimate(), estimate(3.0, 0.1, 2.7, 3.2, warning="Doubt.")
    one = compare_log_likelihoods(first_column, lambda x: x[:, 1], data(), a, b)
    other = compare_log_likelihoods(lambda x: x[:, 1], first_column, data(), b, a)
    torch.testing.assert_close(one.lower, -other.upper)
    torch.testing.assert_close(one.upper, -other.lower)
    assert (one.warning, other.warning) == ("Of B: Doubt.", "Of A: Doubt.")


# --- Everywhere -----------------------------------------------------------------------------------


class Evaluation(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = Network(3, torch.float64)
        self.other = Network(3, torch.float64)

    def forward(self, x: torch.Tensor, log_z: torch.Tensor):
        one = torch.ops.torch_ebm.log_likelihood(self.energy, x, log_z)
        pair = torch.ops.torch_ebm.compare_log_likelihoods(
            self.energy, self.other, x, log_z, log_z[0]
        )
        return one[1], one[5], pair[1], pair[6]


def test_a_scripted_model_gets_the_same_numbers():
    model, log_z = Evaluation(), estimate()
    found = torch.jit.script(model)(data(), torch.stack([*log_z[:4]]))
    one = log_likelihood(model.energy, data(), log_z)
    pair = compare_log_likelihoods(model.energy, model.other, data(), log_z, log_z.log_z)
    for value, expected in zip(found, (one.mean, one.lower, pair.mean, pair.upper)):
        torch.testing.assert_close(value, expected)


BAD = [
    ({"x": data(1)}, "number of examples must be at least 2, got 1"),
    ({"x": torch.full((3, 3), math.nan)}, "x must be finite"),
    ({"log_z": math.inf}, "must be finite"),
    ({"log_z": torch.zeros(3)}, r"one number, shape \(\), got \(3,\)"),
    ({"log_z": estimate(lower=10.1)}, "must lie in its interval"),
    ({"log_z": estimate(upper=9.9)}, "must lie in its interval"),
    ({"log_z": estimate(std_error=-1.0)}, "must lie in its interval and have an error >= 0"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"energy": lambda x: x[:, 0] * math.nan}, "energy of some example is NaN or -inf"),
    ({"energy": lambda x: x[:, 0] - math.inf}, "energy of some example is NaN or -inf"),
]


@pytest.mark.parametrize("change, text", BAD)
def test_what_is_refused(change, text):
    given = {"energy": first_column, "x": data(), "log_z": 1.0, **change}
    with pytest.raises(ValueError, match=text):
        log_likelihood(**given)
    energy, x, log_z = given.pop("energy"), given.pop("x"), given.pop("log_z")
    with pytest.raises(ValueError, match=text):
        compare_log_likelihoods(energy, first_column, x, log_z, 1.0, **given)
    with pytest.raises(ValueError, match=text):
        compare_log_likelihoods(first_column, energy, x, 1.0, log_z, **given)


def test_an_example_that_both_models_forbid_cannot_be_compared():
    def forbidding(x):
        return torch.where(x[:, 0] > 0, 0.0, math.inf)

    with pytest.raises(ValueError, match="examples that both models forbid"):
        compare_log_likelihoods(forbidding, forbidding, data(), 1.0, 1.0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_no_gradient_in_any_mode(mode):
    network = Network(3, torch.float64)
    expected = log_likelihood(network, data(), 1.0)
    with mode():
        result = log_likelihood(network, data(), 1.0)
    assert torch.equal(result.values, expected.values) and not result.values.requires_grad
