"""Moment-averaged paths: their knots against enumerated moments, and what they are worth."""

import math

import pytest
import torch

import torch_ebm
from known_values import all_states, case, exact_samples, random_rbm, seeded
from paths import AveragedGaussians
from statistical_checks import check_mean
from torch_ebm import RBMPath, anneal, linear_schedule, moment_averaged_path

V, H = 6, 4
BASE = torch.linspace(-1, 1, V, dtype=torch.float64)


def parameters(rbm):
    return [p.detach() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias)]


def geometric_path(rbm, base_bias):
    w, b, c = parameters(rbm)
    return RBMPath(torch.stack([0 * w, w]), torch.stack([base_bias, b]), torch.stack([0 * c, c]))


def log_law(path, beta):
    """The log probabilities of all visible states."""
    v = all_states(path.weight.shape[1])
    return torch.log_softmax(-path.tempered(v, torch.tensor(beta, dtype=torch.float64)), 0)


def moments_at(path, beta):
    """E[v], E[h] and E[v h'] by enumeration, one after the other."""
    v, p = all_states(path.weight.shape[1]), log_law(path, beta).exp()
    weight, _, hidden_bias = path.rbm_at(torch.tensor(beta, dtype=torch.float64))
    h = torch.sigmoid(torch.addmm(hidden_bias, v, weight))
    return torch.cat([p @ v, p @ h, (v.t() @ (p[:, None] * h)).flatten()])


def moments_of(x, rbm):
    """The same of visible states x and what the model says of the hidden units."""
    h = rbm.hidden_given_visible(x).detach()
    return torch.cat([x.mean(0), h.mean(0), (x.t() @ h).flatten() / len(x)])


def largest_error(path, last=None):
    """Of the moments at the inner knots; `last` are those of the model."""
    first = moments_at(path, 0.0)
    last = moments_at(path, 1.0) if last is None else last
    shares = torch.linspace(0, 1, len(path.betas), dtype=torch.float64)
    return max(
        (moments_at(path, beta) - torch.lerp(first, last, share)).abs().max().item()
        for beta, share in zip(path.betas[1:-1].tolist(), shares[1:-1])
    )


def bias_of_perfect_transitions(path, n_steps):
    """log Z - log Z_0 - E[log w]: the sum of the divergences of neighbours."""
    laws = [log_law(path, k / n_steps) for k in range(n_steps + 1)]
    return sum((p.exp() * (p - q)).sum().item() for p, q in zip(laws, laws[1:]))


def test_knots_average_the_moments():
    rbm = random_rbm(V, H, 0.8, seed=1)
    path = moment_averaged_path(
        rbm, BASE, n_knots=5, n_chains=1000, n_updates=1000, generator=seeded(2)
    )
    for part, model in zip((path.weight, path.visible_bias, path.hidden_bias), parameters(rbm)):
        assert len(part) == 5 and torch.equal(part[-1], model)
    assert torch.equal(path.visible_bias[0], BASE) and not path.hidden_bias[0].any()
    assert largest_error(path) < 0.01
    between = moment_averaged_path(rbm, BASE, n_knots=2)  # nothing is trained
    torch.testing.assert_close(between.weight, geometric_path(rbm, BASE).weight)


def test_more_updates_and_chains_bring_moments_closer():
    rbm, errors = random_rbm(V, H, 1.5, seed=3), []
    for n_chains, n_updates in ((10, 20), (100, 500), (1000, 2000)):
        path = moment_averaged_path(
            rbm, BASE, n_knots=4, n_chains=n_chains, n_updates=n_updates, generator=seeded(4)
        )
        errors.append(largest_error(path))
    assert errors[2] < errors[1] / 2 and errors[1] < errors[0] / 2 and errors[2] < 0.02


def test_units_that_are_mostly_on_do_not_slow_the_training():
    # Without centred units, steps along what the means have in common are far too long.
    rbm = random_rbm(10, 30, 0.1, seed=30)
    with torch.no_grad():
        rbm.visible_bias += 2
        rbm.hidden_bias += 2
    base = torch.full((10,), 2.0, dtype=torch.float64)
    path = moment_averaged_path(rbm, base, n_knots=3, n_chains=1000, generator=seeded(31))
    assert largest_error(path) < 0.015


def test_moments_are_taken_from_the_samples_given():
    rbm = random_rbm(V, H, 0.8, seed=5)
    p = torch.softmax(-rbm(all_states(V)), 0).detach()
    x = exact_samples(p, 2000, V, seed=6)
    x[:, 0] = 1  # not what the model does, to tell the two apart
    path = moment_averaged_path(
        rbm, BASE, n_knots=4, x=x, n_chains=1000, n_updates=1000, generator=seeded(7)
    )
    assert largest_error(path, moments_of(x, rbm)) < 0.015
    assert largest_error(path) > 0.05


def test_knots_stand_where_evenly_spaced_temperatures_are_best():
    rbm = random_rbm(V, H, 1.5, seed=24)
    x = exact_samples(torch.softmax(-rbm(all_states(V)), 0).detach(), 100, V, seed=25)
    path = moment_averaged_path(rbm, BASE, n_knots=5, x=x, generator=seeded(26))
    knots = torch.cat([path.visible_bias, path.hidden_bias, path.weight.flatten(1)], 1)
    cost = knots.diff(dim=0) @ (moments_of(x, rbm) - moments_at(path, 0.0))
    # K steps, shared among the pieces as K_r: the bias is the sum of cost_r / (2 K_r), least where
    # K_r grows like the root of cost_r.
    torch.testing.assert_close(path.betas.diff(), cost.sqrt() / cost.sqrt().sum())
    assert (cost / path.betas.diff()).sum() < (cost / 0.25).sum()


def test_a_model_that_is_its_own_base_has_a_path_too():
    rbm = random_rbm(V, H, 0.0, seed=27)
    path = moment_averaged_path(rbm, rbm.visible_bias.detach(), generator=seeded(28))
    estimate = torch_ebm.ais(path, path.base(), betas=30, generator=seeded(29))
    assert abs(estimate.log_z - rbm.log_z()) < 0.1


@pytest.mark.parametrize("good", [True, False])
def test_weights_are_unbiased_whatever_the_knots_are(good):
    rbm = random_rbm(V, H, 1.5, seed=8)
    pilot = {} if good else {"n_chains": 2, "n_updates": 3, "n_model_steps": 2, "learning_rate": 1}
    path = moment_averaged_path(rbm, BASE, n_knots=4, generator=seeded(9), **pilot)
    assert (largest_error(path) < 0.05) == good
    estimate = torch_ebm.ais(path, path.base(), n_chains=20_000, betas=10, generator=seeded(10))
    log_z_base = torch.nn.functional.softplus(BASE).sum() + H * math.log(2)
    ratio = torch.exp(estimate.log_weights + log_z_base - rbm.log_z().detach())
    check_mean(ratio, 1.0, what="mean weight")


def test_the_bias_of_perfect_transitions_is_smaller_than_along_the_geometric_path():
    rbm = case("rbm_12x8_s12").rbm()
    p = torch.softmax(-rbm(all_states(12)).detach(), 0)
    base = torch.logit(p @ all_states(12))  # the model's own means, as base rates would be
    path = moment_averaged_path(rbm, base, n_chains=1000, n_updates=500, generator=seeded(11))
    bias, geometric = (
        bias_of_perfect_transitions(path, 64) for path in (path, geometric_path(rbm, base))
    )
    assert 0 < bias < 0.6 * geometric


def test_more_weights_are_effective_where_couplings_are_strong():
    rbm = case("rbm_20x10_s14").rbm()
    base = torch.zeros(20, dtype=torch.float64)
    path = moment_averaged_path(rbm, base, generator=seeded(12))
    ess, geometric = (
        torch_ebm.ais(path, path.base(), n_chains=2000, betas=30, generator=seeded(13)).ess
        for path in (path, geometric_path(rbm, base))
    )
    assert ess > 1.5 * geometric


@pytest.mark.parametrize("average", ["moments", "geometric"])
def test_weights_of_averaged_gaussians_have_the_bias_of_the_divergences(average):
    path = AveragedGaussians(-2.0, 1.0, 1.0, 0.7, average=average)
    betas = linear_schedule(20)
    start = path.exact(20_000, 0, seeded(14))
    chains = anneal(path, start, betas, path.perfect_sampler, generator=seeded(15))
    expected = path.log_z(1) - path.log_z(0) - path.bias(betas)
    check_mean(chains.log_weights, expected, what="mean log weight")


def constant_speed(path, n_steps):
    """The schedule of equal divergences between neighbours, which is the best one."""
    fine = linear_schedule(20_000)
    lengths = [math.sqrt(path.bias(pair)) for pair in zip(fine, fine[1:])]
    way = torch.tensor([0.0, *lengths], dtype=torch.float64).cumsum(0)
    marks = torch.searchsorted(way, linear_schedule(n_steps)[1:-1] * way[-1])
    return torch.cat([fine[:1], fine[marks], fine[-1:]])


def test_far_gaussians_are_much_closer_along_averaged_moments():
    # Means d apart, of unit variance: the bias is F / (2 K). Evenly spaced temperatures cost
    # F = d^2 on both paths; the best ones d^2 again, and of the order of (log d)^2.
    d, n_steps = 15.0, 300
    paths = [AveragedGaussians(-10.0, 1.0, 5.0, 1.0, average=a) for a in ("geometric", "moments")]
    for path in paths:
        bias = path.bias(linear_schedule(4000))
        assert bias == pytest.approx(d**2 / (2 * 4000), rel=1e-6)
    geometric, averaged = (path.bias(constant_speed(path, n_steps)) for path in paths)
    assert geometric == pytest.approx(d**2 / (2 * n_steps), rel=1e-3)
    assert averaged < geometric / 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_seed_decides_and_the_dtype_is_kept(dtype):
    rbm = random_rbm(V, H, 0.8, seed=16, dtype=dtype)

    def knots(seed):
        path = moment_averaged_path(
            rbm, BASE.to(dtype), n_knots=4, n_updates=5, generator=seeded(seed)
        )
        return path.weight

    assert knots(17).dtype == dtype and torch.equal(knots(17), knots(17))
    assert not torch.equal(knots(17), knots(18))


FINE = {"base_visible_bias": BASE}


@pytest.mark.parametrize(
    "changed, error, text",
    [
        ({"base_visible_bias": BASE[1:]}, ValueError, "base_visible_bias must have shape (V,)"),
        ({"base_visible_bias": BASE.float()}, TypeError, "base_visible_bias must have"),
        ({"base_visible_bias": BASE * math.inf}, ValueError, "base_visible_bias must be finite"),
        ({"n_knots": 1}, ValueError, "n_knots must be at least 2, got 1"),
        ({"n_model_steps": 1}, ValueError, "n_model_steps must be at least 2, got 1"),
        ({"n_chains": 0}, ValueError, "n_chains must be at least 1, got 0"),
        ({"n_updates": 0}, ValueError, "n_updates must be at least 1, got 0"),
        ({"n_updates": 2**31}, ValueError, "n_model_steps + n_knots n_updates must be below 2^32"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive, got 0"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be positive, got nan"),
        ({"x": torch.zeros(3, V + 1).double()}, ValueError, "x must have shape (N, V) = (any, 6)"),
        ({"x": torch.zeros(0, V).double()}, ValueError, "x must hold at least one chain"),
        ({"x": torch.full((3, V), 0.5).double()}, ValueError, "x must"),
        ({"x": torch.zeros(3, V)}, TypeError, "x must have"),
    ],
)
def test_bad_input_is_refused_by_name(changed, error, text):
    generator = seeded(21)
    before = generator.get_state()
    with pytest.raises(error) as caught:
        rbm = random_rbm(V, H, 0.8, seed=22)
        moment_averaged_path(rbm, **{**FINE, **changed}, generator=generator)
    assert "moment_averaged_path: " in str(caught.value) and text in str(caught.value)
    assert torch.equal(generator.get_state(), before)


def test_a_model_that_is_not_finite_is_refused():
    rbm = random_rbm(V, H, 0.8, seed=23)
    with torch.no_grad():
        rbm.weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="moment_averaged_path: weight must be finite"):
        moment_averaged_path(rbm, BASE)
