"""The public test kit: right samplers pass its checks, and wrong ones do not."""

from functools import partial
from typing import Optional

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Gaussian, standard_normal
from known_values import case, random_rbm, seeded
from statistical_checks import require
from torch_ebm import testing

FVBM = case("fvbm_n4_s1")
STATES = testing.enumerate_states((4,))


def energy():
    return FullyVisible(FVBM.array("W"), FVBM.array("b"))


def fails(check):
    assert check.p_value < 1e-9, check
    with pytest.raises(AssertionError, match=check.what):
        check.require()


def at_temperature(beta, sampler=torch_ebm.gibbs):
    return lambda e, x, generator: sampler(e, x, beta=beta, generator=generator)


def stays(e, x, generator):
    return x


def skips_a_unit(e, x, generator):
    clamp = torch.arange(x.shape[1]) == 1
    return torch_ebm.gibbs(e, x, clamp=clamp, generator=generator).x


def test_states_and_their_law():
    assert torch.equal(
        testing.enumerate_states((2,)), torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]).double()
    )
    three = testing.enumerate_states((2,), 3)
    assert three.shape == (9, 2, 3) and three.sum(-1).eq(1).all() and len(three.unique(dim=0)) == 9
    assert testing.enumerate_states((2, 2), dtype=torch.float32).shape == (16, 2, 2)
    law = testing.exact_law(energy(), STATES)
    torch.testing.assert_close((law[:, None] * STATES).sum(0), FVBM.array("mean_x"))
    rbm = random_rbm(4, 3, 1.0, seed=5)
    joint = testing.enumerate_states((7,))
    joint_law = torch.softmax(-0.5 * rbm.energy(joint[:, :4], joint[:, 4:]).detach(), 0)
    torch.testing.assert_close(
        testing.exact_law(rbm, STATES, 0.5), joint_law.view(8, 16).sum(0), rtol=1e-10, atol=0
    )
    with pytest.raises(ValueError, match="2\\^21 states"):
        testing.enumerate_states((21,))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_a_law_at_a_temperature_follows_the_path_from_a_base(beta):
    base = torch.distributions.Independent(
        torch.distributions.Bernoulli(logits=torch.tensor([1.0, -2.0, 0.5, 0.0]).double()), 1
    )
    path = torch_ebm.annealed_energy(energy(), base)
    log_law = -beta * energy()(STATES) + (1 - beta) * base.log_prob(STATES)
    torch.testing.assert_close(testing.exact_law(path, STATES, beta), log_law.softmax(0))
    require(testing.check_invariance(torch_ebm.gibbs, path, STATES, beta=beta))


def test_a_law_forbids_states_of_infinite_energy_at_every_temperature():
    law = testing.exact_law(lambda x: torch.where(x[:, 0] > 0, torch.inf, 0.0), STATES, 0.0)
    assert torch.equal(law, (1 - STATES[:, 0]) / 8)


def test_chi_square_agrees_with_its_table():
    # The 5% point of chi-square with one degree of freedom is 3.8415.
    counts = torch.tensor(
        [500 + 0.5 * (1000 * 3.841459) ** 0.5, 500 - 0.5 * (1000 * 3.841459) ** 0.5]
    )
    assert abs(testing.chi_square_check(counts, torch.ones(2)).p_value - 0.05) < 1e-6
    fails(testing.chi_square_check(torch.tensor([1, 99]), torch.tensor([0.0, 1])))
    with pytest.raises(ValueError, match="too few counts"):
        testing.chi_square_check(torch.tensor([3, 2]), torch.ones(2))


def test_mean_check_agrees_with_its_table():
    samples = torch.tensor([1.0, -1.0]).repeat(5000) + 0.01 * 1.959964 * (1 + 5e-5)
    assert abs(testing.mean_check(samples, 0.0).p_value - 0.05) < 1e-4
    assert testing.mean_check(torch.zeros(9), 0.0).p_value == 1
    fails(testing.mean_check(torch.full((9,), float("nan")), 0.0))
    fails(testing.mean_check(torch.ones(9), 0.0))


def test_invariance_sees_a_wrong_temperature_and_not_a_sampler_that_stays():
    check = partial(testing.check_invariance, energy=energy(), states=STATES)
    require(check(torch_ebm.gibbs))
    fails(check(at_temperature(0.6)))
    require(check(stays))
    tempered = partial(testing.check_invariance, torch_ebm.gibbs, energy(), STATES)
    require(tempered(beta=0.5))
    ignores_beta = partial(torch_ebm.gibbs)
    fails(
        testing.check_invariance(
            lambda e, x, beta, generator: ignores_beta(e, x, generator=generator),
            energy(),
            STATES,
            beta=0.5,
        )
    )


def test_convergence_sees_a_sampler_that_skips_or_stays():
    check = partial(testing.check_convergence, energy=energy(), states=STATES)
    require(check(torch_ebm.gibbs, n_calls=30))
    fails(check(skips_a_unit, n_calls=30))
    fails(check(stays, n_calls=1))
    require(testing.check_invariance(skips_a_unit, energy(), STATES))


def test_transition_counts_tell_a_reversible_sampler_from_one_that_is_not():
    law = testing.exact_law(energy(), STATES)
    sweep = testing.transition_counts(torch_ebm.gibbs, energy(), STATES)
    fails(testing.check_detailed_balance(sweep, law))
    rbm = random_rbm(4, 3, 0.7, seed=5)
    block = testing.transition_counts(torch_ebm.gibbs, rbm, STATES)
    require(testing.check_detailed_balance(block, testing.exact_law(rbm, STATES)))
    exact = exact_block_kernel(rbm)
    require(testing.check_transitions(block, exact))
    fails(testing.check_transitions(block, exact.roll(1, 1)))


def exact_block_kernel(rbm):
    hidden = testing.enumerate_states((3,))
    with torch.no_grad():
        p_h = rbm.hidden_given_visible(STATES)[:, None]
        p_v = rbm.visible_given_hidden(hidden)[:, None]
    to_hidden = torch.where(hidden.bool(), p_h, 1 - p_h).prod(2)
    to_visible = torch.where(STATES.bool(), p_v, 1 - p_v).prod(2)
    return to_hidden @ to_visible


def naive_exchange(swap_energy):
    """One swap of neighbours, accepted by differences of ``swap_energy(x, beta)``."""

    def exchange(e, x, generator):
        one, other = 1.0, 0.3
        log_ratio = swap_energy(x[0], one) + swap_energy(x[1], other)
        log_ratio = log_ratio - swap_energy(x[1], one) - swap_energy(x[0], other)
        swap = torch.rand(len(log_ratio), generator=generator) < log_ratio.exp()
        return torch.where(swap[None, :, None], x.flip(0), x)

    return exchange


def test_the_swap_rule_of_an_rbm_is_that_of_its_tempered_joint_energy():
    rbm = random_rbm(4, 3, 2.0, seed=6)
    check = partial(testing.check_swap_rule, energy=rbm, states=STATES, betas=(1.0, 0.3))
    with torch.no_grad():
        right = naive_exchange(lambda x, beta: rbm.tempered(x, torch.tensor(beta).double()))
        wrong = naive_exchange(lambda x, beta: beta * rbm(x))
        swapped_sign = naive_exchange(lambda x, beta: -rbm.tempered(x, torch.tensor(beta).double()))
        require(check(right))
        fails(check(wrong))
        fails(check(swapped_sign))


def test_kept_laws_see_a_biased_sampler():
    mean, precision = (
        torch.tensor([1.0, -2.0]).double(),
        torch.tensor([[2.0, 0.8], [0.8, 1.0]]).double(),
    )
    gaussian = Gaussian(mean, precision)
    root = torch.linalg.cholesky(torch.linalg.inv(precision))
    exact = mean + torch.randn(20_000, 2, generator=seeded(1)).double() @ root.T
    require(testing.check_keeps_law(partial(torch_ebm.mala, step_size=0.3), gaussian, exact))
    fails(testing.check_keeps_law(partial(torch_ebm.langevin, step_size=0.3), gaussian, exact))
    fails(testing.check_keeps_law(partial(torch_ebm.mala, step_size=0.3), gaussian, exact + 0.2))


def test_checks_run_on_copies_of_what_they_are_given():
    exact = torch.randn(20_000, 2, generator=seeded(1)).double()
    before = exact.clone()
    in_place = partial(torch_ebm.langevin, step_size=1.0, inplace=True)
    fails(testing.check_keeps_law(in_place, standard_normal, exact))
    assert torch.equal(exact, before)


@pytest.mark.parametrize("height", [12.0, torch.inf])
def test_detailed_balance_sees_moves_between_states_of_very_different_probability(height):
    def steep(x):
        return torch.where(x[:, 0] > 0, height, 0.0)

    def coin(e, x, generator):
        return torch.randint(2, x.shape, generator=generator).to(x)

    states = testing.enumerate_states((2,))
    counts = testing.transition_counts(coin, steep, states)
    fails(testing.check_detailed_balance(counts, testing.exact_law(steep, states)))


def conjugate(y):
    return lambda z: 0.5 * z.square().sum(1) + 0.5 * (y - z).square().sum(1)


def test_the_joint_test_sees_a_wrong_posterior():
    def prior(n, generator):
        return torch.randn(n, 2, generator=generator, dtype=torch.float64)

    def data(z, generator):
        return z + torch.randn(z.shape, generator=generator, dtype=torch.float64)

    right = partial(torch_ebm.hmc, step_size=0.3, n_leapfrog=3)
    require(testing.check_joint(right, conjugate, prior, data))
    fails(testing.check_joint(partial(right, beta=1.3), conjugate, prior, data))
    fails(
        testing.check_joint(
            right, lambda y: lambda z: conjugate(y)(z) - 0.1 * z.sum(1), prior, data
        )
    )


def test_gradients_at_the_truth_see_a_regulariser():
    precision = torch.ones((), dtype=torch.float64, requires_grad=True)
    generator = seeded(3)

    def likelihood(weight=0.0):
        data, negative = torch.randn(2, 200, 3, generator=generator, dtype=torch.float64)
        difference = standard_normal(data).mean() - standard_normal(negative).mean()
        return precision * difference + weight * precision.square()

    require(testing.check_gradient_vanishes(likelihood, [precision]))
    fails(testing.check_gradient_vanishes(lambda: likelihood(0.1), [precision]))


def test_what_a_sampler_returns_must_be_states():
    with pytest.raises(ValueError, match="not among the states|no state has"):
        testing.check_invariance(lambda e, x, generator: x + 0.5, energy(), STATES)
    some = STATES[:-1]
    with pytest.raises(ValueError, match="not among the states"):
        testing.check_invariance(torch_ebm.gibbs, energy(), some, n_calls=20)


class Coins(torch.nn.Module):
    """A scripted sampler: independent fair coins, whatever the energy."""

    def forward(self, x: torch.Tensor, beta: torch.Tensor, generator: Optional[torch.Generator]):
        return torch.empty_like(x).bernoulli_(0.5, generator=generator)


def coins(e, x, generator):
    return torch.empty_like(x).bernoulli_(0.5, generator=generator)


def test_operators_callables_and_scripts_are_checked_alike_for_one_seed():
    def called_back(e, x, generator):
        return torch_ebm.gibbs(e, x, generator=generator)

    def checks(sampler, e):
        options = {"energy": e, "states": STATES, "n_chains": 2000, "seed": 9}
        yield testing.check_invariance(sampler, **options)
        yield testing.check_convergence(sampler, n_calls=5, start=-1, **options)
        yield testing.check_detailed_balance(
            testing.transition_counts(sampler, **options), testing.exact_law(e, STATES)
        )
        yield testing.check_keeps_law(sampler, e, STATES.repeat(100, 1), seed=9)

    assert list(checks(torch_ebm.gibbs, energy())) == list(checks(called_back, energy()))
    assert list(checks(coins, zero)) == list(checks(torch.jit.script(Coins()), zero))


def zero(x):
    return 0 * x.sum(1)


def test_one_hot_states_are_told_apart():
    states = testing.enumerate_states((2,), 3)
    field = torch.tensor([0.0, 1.0, 2.0]).double()

    def categorical(x):
        return (x * field).sum((1, 2))

    sampler = partial(torch_ebm.gibbs, categorical=True)
    require(testing.check_invariance(sampler, categorical, states))
    fails(testing.check_invariance(at_temperature(0.6, sampler), categorical, states))


def test_states_may_be_single_numbers():
    def swap(e, x, generator):
        return 1 - x

    states = torch.tensor([0.0, 1.0])
    assert testing.transition_counts(swap, zero, states, n_chains=3).tolist() == [[0, 3], [3, 0]]


def test_a_temperature_of_the_samplers_own_holds_where_the_check_gives_none():
    fails(testing.check_invariance(partial(torch_ebm.gibbs, beta=0.6), energy(), STATES))
    require(testing.check_invariance(partial(torch_ebm.gibbs, beta=0.6), energy(), STATES, beta=1))


def test_statistics_are_those_that_are_given():
    exact = torch.randn(5000, 2, generator=seeded(1)).double()
    flips = partial(testing.check_keeps_law, lambda e, x, generator: -x, standard_normal, exact)
    require(flips(statistics=lambda x: x.square()))
    fails(testing.check_keeps_law(lambda e, x, generator: 1.1 * x, standard_normal, exact))
    assert flips(statistics=lambda x: x[:, :1]).detail.endswith("in 0")


def test_checks_say_what_is_worst():
    # Expected are 34.44, 39.36, 44.28, 2.95 and 1.97; the rarest three make a cell of 39.36.
    law = torch.tensor([3.5, 4, 4.5, 0.3, 0.2])
    check = testing.chi_square_check(torch.tensor([30, 50, 40, 1, 2]), law)
    assert check.detail == "chi-square 4.3 with 2 degrees of freedom; worst is state 1: 50 for 39.4"
    rarest = testing.chi_square_check(torch.tensor([60, 60, 0, 0]), torch.tensor([50.0, 50, 5, 5]))
    assert "worst is state of the rarest: 0 for 10.9" in rarest.detail
    moves = testing.check_detailed_balance(torch.tensor([[0, 9], [1, 0]]), torch.tensor([0.5, 0.5]))
    assert moves.detail == "9 of 10 moves between states 0 and 1 are of the first kind, for 5.0"
    assert moves.p_value == pytest.approx(2 * 11 / 2**10)
    mean = testing.mean_check(torch.tensor([[1.0, 5], [2, 5]]), torch.tensor([1.5, 5]))
    assert (mean.p_value, mean.detail) == (1, "|z| = 0.00 in 0")


def test_cells_are_pooled_up_to_min_expected():
    half = testing.MIN_EXPECTED
    assert testing.chi_square_check(torch.tensor([half, half]), torch.ones(2)).p_value == 1
    with pytest.raises(ValueError, match=f"counts: too few counts, {2 * half - 1}"):
        testing.chi_square_check(torch.tensor([half, half - 1]), torch.ones(2))


class OwnError(Exception):
    pass


def test_errors_of_users_keep_their_type_and_others_are_named():
    def raises(*args, **options):
        raise OwnError

    for wrong in ({"sampler": raises}, {"energy": raises}):
        with pytest.raises(OwnError):
            testing.check_invariance(**{"sampler": stays, "energy": zero, "states": STATES, **wrong})
    check = partial(testing.check_convergence, energy=zero, states=STATES)
    with pytest.raises(TypeError, match="sampler must return Samples or a tensor, got int"):
        check(lambda e, x, generator: 1)
    with pytest.raises(ValueError, match="sampler must return the shape of the states"):
        check(lambda e, x, generator: x[:-1])
    with pytest.raises(ValueError, match="start must be the number of one of 16 states, got 16"):
        check(stays, start=16)
    with pytest.raises(ValueError, match="n_chains must be at least 1, got 0"):
        check(stays, n_chains=0)
    with pytest.raises(ValueError, match="states must be distinct"):
        testing.check_invariance(stays, zero, STATES[:1].repeat(2, 1))
    with pytest.raises(ValueError, match="exact_law: energies must not be NaN"):
        testing.check_invariance(stays, lambda x: torch.nan * x.sum(1), STATES)
