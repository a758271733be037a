"""Linked importance sampling against exact ratios of normalising constants."""

import functools
import math

import pytest
import torch

import torch_ebm
from known_values import all_states, case, exact_samples, seeded, state_numbers
from paths import Gaussians, SalakhutdinovMurray, ScriptedPath, ScriptedSampler
from statistical_checks import check_mean
from torch_ebm import linear_schedule
from torch_ebm.energy.energy import as_argument
from torch_ebm.samplers.sampler import sampler_argument

SLOW = functools.partial(torch_ebm.mala, step_size=0.01)


def stay(energy, x, beta, generator):
    return x


def linked(energy, x, betas, sampler, **options):
    """The operator, with Python callables: log weights and log ratios."""
    with as_argument(energy) as argument, sampler_argument(sampler, energy) as move:
        return torch.ops.torch_ebm.linked_ais(argument, x, betas, move, **options)


def starts(path, n_states, n_runs, seed, beta=0):
    return path.exact(n_states * n_runs, beta, seeded(seed)).view(n_states, n_runs, -1)


def steps(path, betas):
    """log Z of every temperature over that of the one before."""
    log_z = torch.tensor([path.log_z(beta) for beta in betas.tolist()], dtype=torch.float64)
    return log_z.diff()


@pytest.mark.parametrize("optimal", [False, True])
@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("n_states", [2, 5])
def test_weights_are_unbiased_though_the_sampler_is_slow(n_states, downwards, optimal):
    path, n = Gaussians(2, 1.0, 0.8), 40_000
    betas = linear_schedule(3).flip(0) if downwards else linear_schedule(3)
    log_ratios = steps(path, betas)
    log_w, _ = linked(
        path,
        starts(path, n_states, n, 1, betas[0].item()),
        betas,
        SLOW,
        log_ratios=log_ratios + 0.3 if optimal else None,  # good guesses, not right ones
        generator=seeded(2),
    )
    check_mean(torch.exp(log_w - log_ratios.sum()), 1.0, what="mean weight")


TABLE = torch.tensor([0.3, 2.0, -1.0, 0.0, 1.5, -0.5, 0.8, -2.0], dtype=torch.float64)


def table_energy(x):
    return TABLE[state_numbers(x)]


def transition(beta):
    """Metropolis' rule for steps around a ring of eight states, (8, 8): reversible, and slow."""
    kernel = torch.zeros(8, 8, dtype=torch.float64)
    for state in range(8):
        for other in ((state + 1) % 8, (state - 1) % 8):
            kernel[state, other] = 0.5 * torch.exp(beta * (TABLE[state] - TABLE[other])).clamp(
                max=1
            )
        kernel[state, state] = 1 - kernel[state].sum()
    return kernel


def ring(energy, x, *, beta, generator):
    rows = transition(float(beta))[state_numbers(x)]
    return all_states(3)[torch.multinomial(rows, 1, generator=generator).flatten()]


def exact_moments(betas):
    """E[w] and E[w^2] of the geometric bridge with two states, by enumeration of all pairs."""
    log_term = lambda b, to: -(to - b) * TABLE / 2  # noqa: E731, of bridge over f_b
    law = torch.softmax(-betas[0] * TABLE, 0)
    pairs = law[:, None] * law  # two independent states
    moments = []
    for power in (1, 2):
        mass = pairs
        for b, to in zip(betas, betas[1:]):
            up, down = torch.exp(log_term(b, to)), torch.exp(log_term(to, b))
            total = up[:, None] + up
            # The next link is either of the two, and the move goes on from it to either side.
            link = (mass * total ** (power - 1) * up[:, None]).sum(1)
            link = link + (mass * total ** (power - 1) * up).sum(0)
            mass = link[:, None] * transition(to) / (down[:, None] + down) ** power
        moments.append(mass.sum())
    return moments


def test_weights_of_two_states_have_the_enumerated_moments():
    betas, n = [0.0, 0.4, 1.0], 100_000
    mean, square = exact_moments(betas)
    exact = torch.exp(-TABLE).sum() / 8
    torch.testing.assert_close(mean, exact)  # so the formula is right
    x = all_states(3)[torch.randint(8, (2 * n,), generator=seeded(3))].view(2, n, 3)
    log_w, _ = linked(table_energy, x, torch.tensor(betas), ring, generator=seeded(4))
    w = torch.exp(log_w)
    check_mean(w, exact, square - mean**2, what="mean weight")
    check_mean(w.square(), square, what="mean square of the weights")


@pytest.mark.parametrize("n_states", [3, 5])
def test_a_link_is_as_often_in_the_middle_as_at_the_ends(n_states):
    # At beta = 0 every move is from an even state to an odd one or back: the states in the middle
    # differ from those at the ends.
    n, table = 100_000, torch.tensor([0.0, 4.0]).repeat(4).double()
    x = exact_samples(torch.softmax(-table, 0), n_states * n, 3, seed=5).view(n_states, n, 3)
    energy = lambda x: table[state_numbers(x)]  # noqa: E731
    log_w, _ = linked(energy, x, torch.tensor([1.0, 0.0]), ring, generator=seeded(6))
    check_mean(torch.exp(log_w), 8 / torch.exp(-table).sum(), what="mean weight")


@pytest.mark.parametrize("log_ratios", [None, torch.tensor([0.5, -2.0, 0.1])])
def test_one_state_is_simple_importance_sampling(log_ratios):
    path = Gaussians(2, 1.0, 0.4)
    x, betas = starts(path, 1, 9, 7), linear_schedule(3)
    log_w, _ = linked(path, x, betas, stay, log_ratios=log_ratios)
    torch.testing.assert_close(log_w, path.base_energy(x[0]) - path(x[0]))


@pytest.mark.parametrize("optimal", [False, True])
def test_log_ratios_are_those_of_the_temperatures(optimal):
    path, betas = Gaussians(3, 1.0, 0.4), linear_schedule(4)
    exact = steps(path, betas)
    _, log_ratios = linked(
        path,
        starts(path, 50, 2000, 8),
        betas,
        path.perfect_sampler,
        log_ratios=exact - 0.5 if optimal else None,
        generator=seeded(9),
    )
    torch.testing.assert_close(log_ratios, exact, rtol=0, atol=0.03)


def test_optimal_bridges_have_the_smaller_variance():
    path, betas = Gaussians(5, 1.0, 0.2), linear_schedule(1)
    exact = steps(path, betas)

    def variance(log_ratios):
        x = starts(path, 50, 4000, 10)
        log_w, _ = linked(
            path, x, betas, path.perfect_sampler, log_ratios=log_ratios, generator=seeded(11)
        )
        return torch.exp(log_w - exact.sum()).var().item()

    assert variance(exact) < 0.8 * variance(None)


class Wall:
    """All of 0 to 9 are possible at first, those above 4 not from beta = 0.5 on."""

    def __call__(self, x):
        return self.tempered(x, torch.tensor(1.0))

    def tempered(self, x, beta):
        return torch.where((x[:, 0] > 4) & (beta >= 0.5), math.inf, 0.0).double()


@pytest.mark.parametrize("log_ratios", [None, torch.tensor([-0.7, 0.0])])
def test_a_run_without_a_possible_state_has_weight_zero(log_ratios):
    n_states, n = 3, 20_000
    x = torch.randint(10, (n_states, n, 1), generator=seeded(12)).double()
    log_w, ratios = linked(Wall(), x, torch.tensor([0.0, 0.5, 1.0]), stay, log_ratios=log_ratios)
    assert torch.equal(torch.isneginf(log_w), (x > 4).all(0)[:, 0])
    check_mean(torch.exp(log_w), 0.5, what="mean weight")
    torch.testing.assert_close(ratios, torch.tensor([0.5, 1.0]).log().double(), rtol=0, atol=0.03)


class Box:
    """The uniform law on [-w, w], w from 0.2 to 1: no sample of the base shows what is outside."""

    def __call__(self, x):
        return self.tempered(x, torch.tensor(1.0))

    def tempered(self, x, beta):
        return torch.where(x[:, 0].abs() <= 0.2 + 0.8 * beta, 0.0, math.inf).double()


@pytest.mark.parametrize("n_states", [2, 10])
def test_of_a_law_wider_than_the_base_a_part_is_missed_that_falls_with_the_states(n_states):
    n = 20_000
    uniform = lambda *size, generator: (  # noqa: E731, on [-1, 1]
        2 * torch.rand(*size, dtype=torch.float64, generator=generator) - 1
    )
    perfect = lambda energy, x, *, beta, generator: uniform(
        *x.shape, generator=generator
    )  # noqa: E731
    x = 0.2 * uniform(n_states, n, 1, generator=seeded(20))
    betas = torch.tensor([0.0, 1.0])
    log_w, _ = linked(Box(), x, betas, perfect, generator=seeded(21))
    # Short by the chance that none of the states at beta = 1 is possible at beta = 0.
    check_mean(torch.exp(log_w), 5 * (1 - 0.8**n_states), what="mean weight")
    blind = torch_ebm.anneal(Box(), x[0], betas, perfect, generator=seeded(22))
    assert (blind.log_weights == 0).all()  # a mean weight of 1 instead of 5


def test_laws_without_a_common_state_leave_no_weight():
    x = torch.full((3, 4, 1), 7.0)
    log_w, log_ratios = linked(Wall(), x, torch.tensor([0.0, 1.0]), stay)
    assert torch.isneginf(log_w).all() and not log_ratios.isfinite()


def test_the_sampler_is_called_for_all_but_one_state_of_a_temperature():
    seen = []

    def sampler(energy, x, *, beta, generator):
        assert len(x) == 3
        seen.append(float(beta))
        return x

    path = Gaussians(2, 1.0, 0.4)
    linked(path, starts(path, 4, 3, 13), torch.tensor([0.0, 0.25, 1.0]), sampler)
    assert seen == [0.25] * 3 + [1.0] * 3


def test_a_run_is_the_same_in_a_small_batch_and_in_a_large_one():
    path, betas = Gaussians(2, 1.0, 0.4), linear_schedule(5)
    x = starts(path, 4, 50, 14)
    before = x.clone()
    large, _ = linked(path, x, betas, SLOW, generator=seeded(15))
    small, _ = linked(path, x[:, :7], betas, SLOW, generator=seeded(15))
    torch.testing.assert_close(small, large[:7], rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before) and not torch.equal(
        linked(path, x, betas, SLOW, generator=seeded(16))[0], large
    )


@pytest.mark.parametrize("n_pilot", [0, 20])
def test_log_z_of_a_gaussian_from_a_normal_base(n_pilot):
    base = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(3).double(), 1.0), 1
    )
    estimate = torch_ebm.linked_ais(
        lambda x: 2 * x.square().sum(1),
        base,
        functools.partial(torch_ebm.mala, step_size=0.2),
        n_chains=200,
        n_states=5,
        betas=10,
        n_pilot=n_pilot,
        generator=seeded(17),
    )
    exact = 1.5 * math.log(2 * math.pi / 4)
    assert estimate.lower < exact < estimate.upper < estimate.lower + 0.2
    assert len(estimate.log_weights) == 200 and len(estimate.betas) == 11
    assert estimate.warning == ""


def test_log_z_of_an_rbm_along_its_own_path():
    known = case("ais_rbm_6x4_s30")
    path = SalakhutdinovMurray(known.rbm(), known.array("bA"))
    estimate = torch_ebm.linked_ais(
        path, path.base(), path.gibbs_sampler, n_chains=100, n_states=5, betas=10,
        generator=seeded(18),
    )  # fmt: skip
    assert estimate.lower < known.rbm().log_z() < estimate.upper < estimate.lower + 0.5


class Scripted(torch.nn.Module):
    """A path, its sampler, and linked weights, all inside one scripted model."""

    def __init__(self):
        super().__init__()
        self.energy = ScriptedPath()
        self.sampler = ScriptedSampler(1)

    def forward(self, m: int, n: int, betas: torch.Tensor) -> torch.Tensor:
        x = torch.randn(m, n, 2, dtype=torch.float64)
        return torch.ops.torch_ebm.linked_ais(self.energy, x, betas, self.sampler)[0]


def test_a_scripted_model_links_itself():
    model = torch.jit.script(Scripted())
    torch.manual_seed(19)
    check_mean(torch.exp(model(3, 20_000, linear_schedule(2))), 0.25, what="mean weight")


FINE = {
    "energy": Gaussians(2, 1.0, 0.4),
    "x": torch.zeros(3, 6, 2, dtype=torch.float64),
    "betas": torch.tensor([0.0, 1.0]),
    "sampler": stay,
}


@pytest.mark.parametrize(
    "changed, error, text",
    [
        ({"betas": torch.tensor([0.0, 0.0])}, ValueError, "betas must rise strictly or fall"),
        ({"x": torch.zeros(6)}, ValueError, "x must hold states of runs, (M, N, ...)"),
        ({"x": torch.zeros(0, 6, 2)}, ValueError, "none of these empty, got (0, 6, 2)"),
        ({"x": torch.full((3, 6, 2), math.nan)}, ValueError, "x must be finite"),
        ({"x": torch.zeros(3, 6, 2).long()}, TypeError, "x must have a floating dtype"),
        ({"log_ratios": torch.zeros(2)}, ValueError, "log_ratios must have shape (K,) = (1,)"),
        ({"log_ratios": torch.tensor([math.inf])}, ValueError, "log_ratios must be finite"),
        ({"energy": lambda x: x.sum(1) * math.nan}, ValueError, "chain 0 is NaN or -inf"),
        (
            {"sampler": lambda energy, x, beta, generator: x[1:]},
            ValueError,
            "linked_ais: sampler must return the shape of the states",
        ),
    ],
)
def test_bad_input_is_refused_by_name(changed, error, text):
    with pytest.raises(error) as caught:
        linked(**{**FINE, **changed})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"n_chains": 1}, "linked_ais: n_chains must be at least 2, got 1"),
        ({"n_states": 0}, "linked_ais: n_states must be at least 1, got 0"),
        ({"n_pilot": -1}, "linked_ais: n_pilot must be at least 0, got -1"),
        ({"betas": torch.tensor([0.0, 0.5])}, "linked_ais: betas must rise strictly from 0 to 1"),
    ],
)
def test_bad_options_are_refused_by_name(changed, text):
    path = Gaussians(2, 1.0, 0.4)
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1)
    with pytest.raises(ValueError) as caught:
        torch_ebm.linked_ais(path, base, stay, **changed)
    assert text in str(caught.value)
