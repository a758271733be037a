"""Langevin sampling: its convention, its own biased law, and the energies it takes."""

import math

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import Gaussian, Network, standard_normal
from known_values import seeded
from statistical_checks import check_distribution, check_mean, check_uncorrelated_columns


def check_variance(samples, variance, what):
    """The variance of normal samples of mean 0."""
    check_mean(
        samples.square(),
        variance,
        torch.full_like(torch.as_tensor(variance), 2) * variance**2,
        what,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step_size", [0.05, 0.5, 1.0])
def test_one_step_is_the_stated_formula(step_size, dtype):
    # From x0 = 2 on N(0, 1): mean (1 - eps) x0, variance 2 eps.
    start = torch.full((100_000, 1), 2.0, dtype=dtype)
    x = torch_ebm.langevin(standard_normal, start, step_size=step_size, generator=seeded(51)).x
    noise = (x.double() - 2 * (1 - step_size)) / math.sqrt(2 * step_size)
    check_distribution(noise.flatten(), scipy.stats.norm(), "noise of one step")


@pytest.mark.parametrize("step_size", [0.1, 0.5])
def test_stationary_variance_is_that_of_the_stated_convention(step_size):
    variance = torch.tensor(1 / (1 - step_size / 2), dtype=torch.float64)
    start = torch.randn(100_000, 1, generator=seeded(52)).double() * variance.sqrt()
    x = torch_ebm.langevin(
        standard_normal, start, n_steps=20, step_size=step_size, generator=seeded(53)
    ).x
    check_variance(x.flatten(), variance, "stationary variance")
    check_distribution(x.flatten(), scipy.stats.norm(0, variance.sqrt().item()), "stationary law")


def test_chains_forget_their_start_at_the_exact_rate():
    n_steps, step_size, ratio = 5, 0.125, 1 - 0.125
    start = torch.full((100_000, 1), 2.0).double()
    x = torch_ebm.langevin(
        standard_normal, start, n_steps=n_steps, step_size=step_size, generator=seeded(54)
    ).x
    variance = 2 * step_size * (1 - ratio ** (2 * n_steps)) / (1 - ratio**2)
    check_mean(x, 2 * ratio**n_steps, variance, "mean after five steps")
    centred = x.flatten() - 2 * ratio**n_steps
    check_variance(centred, torch.tensor(variance).double(), "variance after five steps")


def test_a_correlated_gaussian_has_the_stationary_covariance_of_the_chain():
    # x <- x - eps P (x - m) + sqrt(2 eps) xi has covariance (P (1 - eps P / 2))^-1.
    precision = torch.tensor([[2.0, 0.8], [0.8, 1.0]]).double()
    mean, step_size = torch.tensor([1.0, -2.0]).double(), 0.3
    covariance = torch.linalg.inv(precision @ (torch.eye(2) - step_size / 2 * precision))
    start = mean + torch.randn(50_000, 2, generator=seeded(55)).double()
    x = torch_ebm.langevin(
        Gaussian(mean, precision), start, n_steps=40, step_size=step_size, generator=seeded(56)
    ).x
    check_mean(x, mean, covariance.diag(), "mean")
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), (x - mean).T, upper=False
    ).T
    check_variance(white, torch.ones(2).double(), "variances")
    check_uncorrelated_columns(white)


def test_noise_is_normal_and_independent_across_units_chains_and_steps():
    # A flat energy: the state is the sum of the noise. 70 units are more than one tile of words.
    def flat(x):
        return 0 * x.sum(1)

    start = torch.zeros(50_000, 70).double()
    one = torch_ebm.langevin(flat, start, n_steps=1, step_size=0.5, generator=seeded(57)).x
    two = torch_ebm.langevin(flat, start, n_steps=2, step_size=0.5, generator=seeded(57)).x
    check_uncorrelated_columns(torch.cat([one, two - one], 1), "units and steps")
    check_uncorrelated_columns(one.view(-1, 1000).T, "chains")
    check_distribution(one.flatten(), scipy.stats.norm(), "noise")
    check_variance(one, torch.ones(70).double(), "variance of the noise")
    check_mean(one**4, torch.full((70,), 3.0), torch.full((70,), 96.0), "kurtosis of the noise")


def test_start_states_follow_their_law():
    size = (50_000, 3)
    uniform = torch_ebm.start_states("uniform", size, generator=seeded(58))
    normal = torch_ebm.start_states("normal", size, dtype=torch.float64, generator=seeded(59))
    bits = torch_ebm.start_states("bernoulli", size, generator=seeded(60))
    check_distribution(uniform.flatten(), scipy.stats.uniform(), "uniform")
    check_distribution(normal.flatten(), scipy.stats.norm(), "normal")
    check_mean(bits, [0.5] * 3, [0.25] * 3, "bernoulli")
    for x in (uniform, normal, bits):
        check_uncorrelated_columns(x)
    assert uniform.dtype == bits.dtype == torch.float32 and normal.dtype == torch.float64
    assert ((bits == 0) | (bits == 1)).all()


def test_every_kind_of_energy_gives_the_same_chains():
    module, start = Network(4), torch.randn(30, 4)
    kinds = [module, torch.jit.script(module), lambda x: module(x), module.forward]
    first, *others = [
        torch_ebm.langevin(e, start, n_steps=5, step_size=0.1, generator=seeded(61)).x
        for e in kinds
    ]
    for other in others:
        torch.testing.assert_close(first, other, rtol=1e-5, atol=1e-6)


def test_an_rbm_is_sampled_by_its_score():
    rbm = torch_ebm.RBM(4, 3, dtype=torch.float64)
    start = torch.randn(30, 4).double()
    x = torch_ebm.langevin(rbm, start, step_size=0.1, generator=seeded(62)).x
    noise = torch_ebm.langevin(standard_normal, start, step_size=0.1, generator=seeded(62)).x
    score = rbm.visible_bias + rbm.hidden_given_visible(start) @ rbm.weight.T
    torch.testing.assert_close(x, (noise + 0.1 * start + 0.1 * score).detach())


def test_no_gradient_reaches_parameters_or_start():
    energy, start = Network(4), torch.randn(5, 4, requires_grad=True)
    x = torch_ebm.langevin(energy, start, n_steps=3).x
    assert not x.requires_grad
    assert start.grad is None and all(p.grad is None for p in energy.parameters())


def test_a_constant_added_to_the_energy_changes_no_sample():
    start = torch.randn(50, 3)
    one, shifted = (
        torch_ebm.langevin(
            lambda x: standard_normal(x) + c, start, n_steps=5, generator=seeded(63)
        ).x
        for c in (0.0, 1000.0)
    )
    assert torch.equal(one, shifted)


def test_chains_of_any_shape_are_served():
    start = torch.randn(8, 2, 3, 5)
    x = torch_ebm.langevin(standard_normal, start, n_steps=2, generator=seeded(64)).x
    flat = torch_ebm.langevin(standard_normal, start.flatten(1), n_steps=2, generator=seeded(64)).x
    assert torch.equal(x.flatten(1), flat)


def test_a_last_step_that_overflows_is_refused():
    with pytest.raises(ValueError, match="state of chain 0 is not finite at step 1"):
        torch_ebm.langevin(lambda x: -1e30 * x.sum(1), torch.ones(1, 1), step_size=1e30).x


def test_one_wide_chain_is_the_same_for_any_number_of_threads():
    # A single row is split over the threads too.
    start, results = torch.zeros(1, 100_003), []
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        x = torch_ebm.langevin(
            standard_normal, start, n_steps=3, step_size=0.1, generator=seeded(65)
        ).x
        results.append(x)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    check_mean(results[0].flatten(), 0.0, what="mean of a wide chain")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_the_steps_of_float(dtype):
    start = torch.ones(20, 3, dtype=dtype)
    options = {"n_steps": 1, "step_size": 0.25}
    half = torch_ebm.langevin(standard_normal, start, generator=seeded(66), **options).x
    wide = torch_ebm.langevin(standard_normal, start.float(), generator=seeded(66), **options).x
    assert half.dtype == dtype and torch.equal(half, wide.to(dtype))


# --- The update alone -----------------------------------------------------------------------------

WIDE = {"dtype": torch.float64, "generator": seeded(67)}
X, SCORE = torch.randn(50, 3, 7, **WIDE), torch.randn(50, 3, 7, **WIDE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_an_update_is_the_first_step_of_langevin(dtype):
    x = X.to(dtype)
    options = {"step_size": 0.3, "noise_scale": 0.5}
    one = torch_ebm.langevin_update(x, -x, generator=seeded(68), **options)
    step = torch_ebm.langevin(standard_normal, x, generator=seeded(68), **options).x
    assert one.dtype == dtype and torch.equal(one, step)


def test_an_update_is_drift_and_noise():
    noise = torch_ebm.langevin_update(X * 0, X * 0, 0.5, generator=seeded(69))
    moved = torch_ebm.langevin_update(X, SCORE, 0.02, noise_scale=3.0, generator=seeded(69))
    torch.testing.assert_close(moved, X + 0.02 * SCORE + 3 * 0.2 * noise)
    check_distribution(noise.flatten(), scipy.stats.norm(), "noise of an update")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_units", [1, 2, 3, 5, 7, 8, 9])
def test_short_rows_take_the_numbers_of_wide_ones(n_units, dtype):
    # The kernel takes several short rows at once.
    def step(x, step_size=0.3):
        return torch_ebm.langevin_update(x, -x, step_size, generator=seeded(71))

    wide = torch.randn(5001, 20, generator=seeded(72), dtype=dtype)
    short = wide[:, :n_units].contiguous()
    torch.testing.assert_close(step(short), step(wide)[:, :n_units], rtol=1e-6, atol=1e-6)
    options = {"step_size": torch.rand(5001, generator=seeded(73)), "generator": seeded(71)}
    one = torch_ebm.langevin(standard_normal, short, **options).x
    two = torch_ebm.langevin(standard_normal, wide, **{**options, "generator": seeded(71)}).x
    torch.testing.assert_close(one, two[:, :n_units], rtol=1e-6, atol=1e-6)


def test_an_update_takes_any_strides_and_leaves_its_arguments_alone():
    x, score = X.transpose(0, 2).requires_grad_(), SCORE.transpose(0, 2)
    before = x.detach().clone(), score.clone()
    one = torch_ebm.langevin_update(x, score, 0.1, generator=seeded(70))
    two = torch_ebm.langevin_update(*before, 0.1, generator=seeded(70))
    assert torch.equal(one, two) and not one.requires_grad
    assert torch.equal(x, before[0]) and torch.equal(score, before[1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((X, SCORE[:, :2], 0.1), "score must have the shape of x"),
        ((X[:0], SCORE[:0], 0.1), "x must hold at least one chain"),
        ((X, SCORE, 0.0), "step_size must be > 0 and finite, got 0"),
        ((X, SCORE, math.nan), "step_size must be > 0 and finite, got nan"),
        ((X, SCORE / 0, 0.1), "the score of chain 0 is not finite"),
        ((X / 0, SCORE, 0.1), "the state of chain 0 is not finite at step 0"),
        ((X, SCORE * 1e300, 1e300), "the state of chain 0 is not finite at step 1"),
    ],
)
def test_wrong_updates_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"langevin_update: {message}"):
        torch_ebm.langevin_update(*arguments)
    with pytest.raises(ValueError, match="noise_scale must be >= 0 and finite, got -1"):
        torch_ebm.langevin_update(X, SCORE, 0.1, noise_scale=-1.0)
    with pytest.raises(TypeError, match="score must have the dtype of x, Double, got Float"):
        torch_ebm.langevin_update(X, SCORE.float(), 0.1)
