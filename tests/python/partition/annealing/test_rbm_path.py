"""Paths through RBMs against enumerated laws, and against the path of rbm_ais."""

import functools
import math

import pytest
import torch

import torch_ebm
from known_values import all_states, case, random_rbm, seeded, state_numbers
from paths import SalakhutdinovMurray
from statistical_checks import check_law, check_mean
from torch_ebm import RBMPath, anneal, linear_schedule

RBM_CASES = ["ais_rbm_6x4_s30", "ais_rbm_7x5_s31"]
V, H = 4, 3


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def make_path(dtype=torch.float64, betas=(0.0, 0.25, 1.0)):
    """Three knots of 4 visible and 3 hidden units."""
    generator = seeded(1)
    normal = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    weight = normal(3, V, H)
    weight[0] = 0
    knots = (part.to(dtype) for part in (weight, normal(3, V), normal(3, H)))
    return RBMPath(*knots, torch.tensor(betas, dtype=torch.float64))


def two_knots(rbm, base_bias):
    """The path of rbm_ais."""
    w, b, c = (p.detach() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    return RBMPath(torch.stack([0 * w, w]), torch.stack([base_bias, b]), torch.stack([0 * c, c]))


def law_at(path, beta):
    return torch.softmax(-path.tempered(all_states(V), number(beta)), 0)


def test_a_path_is_linear_between_its_knots_and_passes_through_them():
    path = make_path()
    for r, beta in enumerate(path.betas):
        w, b, c = path.rbm_at(beta)
        assert torch.equal(w, path.weight[r])
        assert torch.equal(b, path.visible_bias[r]) and torch.equal(c, path.hidden_bias[r])
    all_knots = (path.weight, path.visible_bias, path.hidden_bias)
    for parameter, knots in zip(path.rbm_at(number(0.4)), all_knots):
        torch.testing.assert_close(parameter, 0.8 * knots[1] + 0.2 * knots[2])
    v = all_states(V)
    expected = torch.ops.torch_ebm.rbm_free_energy(v, *path.rbm_at(number(0.4)))
    assert torch.equal(path.tempered(v, number(0.4)), expected)
    assert torch.equal(path(v), path.tempered(v, number(1.0)))


def test_the_joint_law_between_two_knots_is_their_geometric_average():
    path = make_path()
    v = all_states(V).repeat_interleave(2**H, 0)
    h = all_states(H).repeat(2**V, 1)

    def joint(beta):
        return -torch.ops.torch_ebm.rbm_energy(v, h, *path.rbm_at(number(beta)))

    torch.testing.assert_close(joint(0.5), 2 / 3 * joint(0.25) + 1 / 3 * joint(1.0))


@pytest.mark.parametrize("n_steps", [2, 10, 50])
@pytest.mark.parametrize("name", RBM_CASES)
def test_two_knots_are_the_path_of_rbm_ais(name, n_steps):
    known, k = case(name), f"[K={n_steps}]"
    rbm, base_bias = known.rbm(), known.array("bA")
    path, same = two_knots(rbm, base_bias), SalakhutdinovMurray(rbm, base_bias)
    v = all_states(rbm.n_visible)
    for beta in (0.0, 0.3, 1.0):
        torch.testing.assert_close(path.tempered(v, number(beta)), same.tempered(v, beta))
    estimate = torch_ebm.ais(path, path.base(), n_chains=20_000, betas=n_steps, generator=seeded(6))
    log_weights = estimate.log_weights
    check_mean(log_weights, known["E_logw" + k], known["var_logw" + k], "mean log weight")
    if n_steps >= 10:
        ratio = torch.exp(log_weights - known["log_E_w" + k])
        check_mean(ratio, 1.0, known["relvar_w" + k], "mean weight")
        assert abs(estimate.log_z - rbm.log_z()) < estimate.upper - estimate.lower


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.0, 0.15, 0.6, None])
def test_block_gibbs_leaves_the_law_invariant(beta, dtype):
    path, law = make_path(dtype), law_at(make_path(), 1.0 if beta is None else beta)
    numbers = torch.multinomial(law, 20_000, replacement=True, generator=seeded(2))
    x = all_states(V, dtype)[numbers]
    samples = torch_ebm.gibbs(path, x, n_steps=2, beta=beta, generator=seeded(3))
    check_law(state_numbers(samples.x), law)


def test_clamped_units_keep_their_values():
    path, clamp = make_path(), torch.tensor([True, False, True, False])
    x = all_states(V)
    states = torch_ebm.gibbs(path, x, beta=0.3, clamp=clamp, generator=seeded(4)).x
    assert torch.equal(states[:, clamp], x[:, clamp])
    assert not torch.equal(states, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_base_is_the_law_at_beta_zero(dtype):
    path, law = make_path(dtype), law_at(make_path(), 0.0)
    log_prob = path.base().log_prob(all_states(V, dtype))
    torch.testing.assert_close(log_prob.exp().double(), law, rtol=1e-5, atol=1e-7)
    torch.manual_seed(5)
    check_law(state_numbers(path.base().sample((20_000,))), law)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_weights_along_three_knots_are_unbiased(direction):
    path, v = make_path(), all_states(V)
    log_z = [torch.logsumexp(-path.tempered(v, number(t)), 0) for t in (0.0, 1.0)]
    betas, ratio = linear_schedule(5), log_z[1] - log_z[0]
    if direction == "down":
        betas, ratio = betas.flip(0), -ratio
    law = law_at(path, float(betas[0]))
    numbers = torch.multinomial(law, 20_000, replacement=True, generator=seeded(6))
    chains = anneal(path, v[numbers], betas, torch_ebm.gibbs, generator=seeded(7))
    check_mean(torch.exp(chains.log_weights - ratio), 1.0, what="mean weight")


def test_a_base_that_is_not_the_first_knot_is_refused():
    path = make_path()
    with pytest.raises(ValueError, match="base must be the distribution that the energy"):
        other = torch.distributions.Bernoulli(logits=path.visible_bias[1])
        torch_ebm.ais(path, torch.distributions.Independent(other, 1), betas=2)


def test_the_state_dict_holds_the_knots():
    path = make_path()
    assert list(path.state_dict()) == ["weight", "visible_bias", "hidden_bias", "betas"]
    other = make_path(betas=(0.0, 0.5, 1.0))
    other.load_state_dict(path.state_dict())
    v = all_states(V)
    assert torch.equal(other.tempered(v, number(0.4)), path.tempered(v, number(0.4)))
    assert not list(path.parameters()) and "n_knots=3" in repr(path)


def test_the_knots_are_copies():
    rbm = random_rbm(V, H, 1.0, seed=8)
    path = two_knots(rbm, torch.zeros(V, dtype=torch.float64))
    before = path(all_states(V))
    with torch.no_grad():
        rbm.weight += 1
    assert torch.equal(path(all_states(V)), before) and not before.requires_grad


def test_a_scripted_path_is_the_same_path(tmp_path):
    path, v = make_path(), all_states(V)
    torch.jit.script(path).save(tmp_path / "path.pt")
    scripted = torch.jit.load(tmp_path / "path.pt")
    assert torch.equal(scripted(v), path(v))
    assert torch.equal(scripted.tempered(v, number(0.4)), path.tempered(v, number(0.4)))
    results = [
        anneal(energy, v, linear_schedule(5), torch_ebm.gibbs, generator=seeded(9))
        for energy in (path, scripted)
    ]
    assert torch.equal(results[0].x, results[1].x)
    assert torch.equal(results[0].log_weights, results[1].log_weights)


def test_replica_exchange_which_runs_all_temperatures_at_once_is_refused_by_name():
    path, betas = make_path(), linear_schedule(2).flip(0)
    with pytest.raises(ValueError, match="RBMPath: beta must be one number for all chains"):
        torch_ebm.replica_exchange(path, all_states(V).expand(3, -1, -1), betas, torch_ebm.gibbs)


ZEROS = {
    "weight": torch.zeros(3, V, H),
    "visible_bias": torch.zeros(3, V),
    "hidden_bias": torch.zeros(3, H),
}


@pytest.mark.parametrize(
    "changed, error, text",
    [
        ({"weight": torch.zeros(V, H)}, ValueError, "weight must have shape (R, V, H)"),
        ({"weight": torch.tensor(1.0)}, ValueError, "weight must have shape (R, V, H)"),
        ({"weight": torch.zeros(1, V, H)}, ValueError, "at least 2 knots, got 1"),
        ({"weight": torch.ones(3, V, H)}, ValueError, "weight of the first knot must be 0"),
        ({"weight": torch.full((3, V, H), math.nan)}, ValueError, "weight must be finite"),
        ({"weight": torch.zeros(3, V, H).long()}, TypeError, "weight must have a floating dtype"),
        ({"visible_bias": torch.zeros(3, H)}, ValueError, "visible_bias must have shape (R, V)"),
        ({"hidden_bias": torch.zeros(2, H)}, ValueError, "hidden_bias must have shape (R, H)"),
        ({"hidden_bias": torch.zeros(3, H).double()}, TypeError, "hidden_bias must"),
        ({"betas": torch.linspace(0, 1, 4)}, ValueError, "betas must have shape (R,) = (3,)"),
        ({"betas": torch.tensor([0.0, 1.0, 0.5])}, ValueError, "betas must rise strictly"),
        ({"betas": torch.tensor([0.1, 0.5, 1.0])}, ValueError, "rise strictly from 0 to 1"),
    ],
)
def test_bad_knots_are_refused_by_name(changed, error, text):
    with pytest.raises(error) as caught:
        RBMPath(**{**ZEROS, **changed})
    assert "RBMPath: " in str(caught.value) and text in str(caught.value)


@pytest.mark.parametrize(
    "beta, text",
    [
        (torch.ones(5), "beta must be one number for all chains, shape (), got (5,)"),
        (number(1.5), "beta must lie in [0, 1], got 1.5"),
        (number(-0.5), "beta must lie in [0, 1], got -0.5"),
        (number(math.nan), "beta must lie in [0, 1], got nan"),
    ],
)
def test_bad_temperatures_are_refused_by_name(beta, text):
    path, v = make_path(), torch.zeros(5, V, dtype=torch.float64)
    for call in (path.tempered, lambda v, beta: path.gibbs(v, beta=beta)):
        with pytest.raises(ValueError) as caught:
            call(v, beta)
        assert "RBMPath: " + text in str(caught.value)
