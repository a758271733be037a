"""What MALA, HMC and NUTS have in common: they leave exp(-beta E) invariant, are reversible, and answer in the same way
to whatever they are given."""

import functools
import signal

import pytest
import scipy.stats
import torch

import torch_ebm
from energies import standard_normal
from known_values import seeded
from statistical_checks import check_distribution, check_mean
from targets import TARGETS, check_reversible, target

EXACT = {
    "mala": functools.partial(torch_ebm.mala, step_size=0.12),
    "hmc": functools.partial(torch_ebm.hmc, step_size=0.4, n_leapfrog=4, jitter=0.5),
    "nuts": functools.partial(torch_ebm.nuts, step_size=0.4, max_depth=4),
}
ALL = {
    **EXACT,
    "underdamped_langevin": functools.partial(torch_ebm.underdamped_langevin, step_size=0.3),
}
# The double well is narrow.
WELL_STEP = {"mala": 0.02, "hmc": 0.22, "nuts": 0.22}
EVERY_EXACT = pytest.mark.parametrize("sampler", EXACT.values(), ids=EXACT)
EVERY_SAMPLER = pytest.mark.parametrize("sampler", ALL.values(), ids=ALL)


def start_states(*size, seed=1):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


@EVERY_EXACT
@pytest.mark.parametrize("name", TARGETS)
def test_leaves_its_target_invariant(sampler, name):
    one = target(name)
    options = {"step_size": WELL_STEP[sampler.func.__name__]} if "well" in name else {}
    result = sampler(one.energy, one.sample(20_000, 2), n_steps=3, generator=seeded(3), **options)
    one.check(result.x)
    assert 0.5 < result.acceptance_rate.mean() < 0.99


@EVERY_EXACT
@pytest.mark.parametrize("name, cells", [("doublewell_a4_t0.5", 9), ("gmm_d2_k5_s72", 7)])
def test_is_reversible(sampler, name, cells):
    one = target(name)
    x = one.sample(60_000, 4)
    step_size = WELL_STEP[sampler.func.__name__]
    y = sampler(one.energy, x, step_size=step_size, generator=seeded(5)).x
    edges = x[:, 0].quantile(torch.linspace(0, 1, cells + 1, dtype=x.dtype)[1:-1])
    check_reversible(x[:, 0], y[:, 0], edges)


@EVERY_EXACT
def test_chains_have_their_own_temperatures(sampler):
    beta = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64).repeat_interleave(10_000)
    start = start_states(30_000, 1) / beta.sqrt()[:, None]
    x = sampler(standard_normal, start, n_steps=3, beta=beta, generator=seeded(6)).x
    scaled = (x.flatten() * beta.sqrt()).view(3, -1)
    check_mean(scaled.T.square(), [1.0] * 3, [2.0] * 3, "variances at three temperatures")
    check_distribution(scaled.flatten(), scipy.stats.norm(), "states at three temperatures")


@EVERY_SAMPLER
def test_beta_is_a_factor_of_the_energy_unless_it_defines_its_own(sampler):
    class Shifted(torch.nn.Module):
        def forward(self, x):
            raise AssertionError("has a tempered energy")

        def tempered(self, x, beta):
            return standard_normal(x - beta[:, None])

    start, beta = start_states(6, 2), torch.rand(6, generator=seeded(6), dtype=torch.float64)
    for energy, same in (
        (standard_normal, lambda x: beta * standard_normal(x)),
        (Shifted(), lambda x: standard_normal(x - beta[:, None])),
    ):
        one = sampler(energy, start, n_steps=4, beta=beta, generator=seeded(6))
        other = sampler(same, start, n_steps=4, generator=seeded(6))
        torch.testing.assert_close(one.x, other.x)
        torch.testing.assert_close(one.acceptance_rate, other.acceptance_rate)


@EVERY_EXACT
def test_stays_uniform_between_walls(sampler):
    def box(x):
        return torch.where(x.abs().amax(1) < 1, 0 * x.sum(1), torch.inf)

    start = 2 * torch.rand(20_000, 2, generator=seeded(7), dtype=torch.float64) - 1
    result = sampler(box, start, n_steps=4, generator=seeded(8))
    check_distribution(result.x.flatten(), scipy.stats.uniform(-1, 2), "uniform in a box")
    assert 0.1 < result.acceptance_rate.mean() < 0.9
    assert (result.x != start).any(1).double().mean() > 0.3


@EVERY_EXACT
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_never_enters_where_the_energy_is_not_finite(sampler, bad):
    def half(x):
        return torch.where(x[:, 0] > 0, bad, standard_normal(x))

    start = -start_states(20_000, 1).abs()
    result = sampler(half, start, n_steps=3, generator=seeded(9))
    assert result.acceptance_rate.isfinite().all()
    check_distribution(-result.x.flatten(), scipy.stats.halfnorm(), "half a normal law")


@EVERY_SAMPLER
def test_a_start_that_is_not_finite_is_named(sampler):
    start = torch.ones(4, 2)
    start[2] = -1
    with pytest.raises(ValueError, match="energy of chain 2 is not finite"):
        sampler(lambda x: x.log().sum(1), start)
    start[2] = 0
    with pytest.raises(ValueError, match="score of chain 2 is not finite"):
        sampler(lambda x: x.sqrt().sum(1), start)


@EVERY_SAMPLER
def test_inverse_mass_is_a_change_of_units(sampler):
    # x = s y has inverse mass s^2 where y has 1.
    scale = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)
    y = start_states(50, 3)
    in_units = sampler(lambda y: (y**4).sum(1), y, n_steps=5, generator=seeded(10))
    result = sampler(
        lambda x: ((x / scale) ** 4).sum(1),
        y * scale,
        n_steps=5,
        inverse_mass=scale**2,
        generator=seeded(10),
    )
    torch.testing.assert_close(result.x, in_units.x * scale)
    torch.testing.assert_close(result.acceptance_rate, in_units.acceptance_rate)


@EVERY_SAMPLER
def test_chains_have_their_own_step_sizes_and_masses(sampler):
    start, n = start_states(6, 3), 4
    step_sizes = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    masses = torch.rand(6, 3, generator=seeded(11), dtype=torch.float64) + 0.5
    both = sampler(
        standard_normal,
        start,
        step_size=step_sizes,
        inverse_mass=masses,
        n_steps=n,
        generator=seeded(12),
    )
    for i in range(6):
        alone = sampler(
            standard_normal,
            start,
            step_size=step_sizes[i].item(),
            inverse_mass=masses[i],
            n_steps=n,
            generator=seeded(12),
        )
        torch.testing.assert_close(both.x[i], alone.x[i])
        torch.testing.assert_close(both.acceptance_rate[i], alone.acceptance_rate[i])


@EVERY_SAMPLER
def test_a_schedule_is_one_step_size_a_step(sampler):
    start, schedule = start_states(8, 2), [0.3, 0.1, 0.2]
    kept = sampler(
        standard_normal, start, step_size=schedule, n_steps=3, thin=1, generator=seeded(13)
    ).trajectory
    first = sampler(standard_normal, start, step_size=0.3, generator=seeded(13)).x
    assert torch.equal(kept[0], first)
    constant = sampler(
        standard_normal, start, step_size=0.3, n_steps=3, thin=1, generator=seeded(13)
    ).trajectory
    assert not torch.equal(kept[1], constant[1])


@EVERY_SAMPLER
def test_any_number_of_chains_and_threads_gives_the_same_chains(sampler):
    energy, start = target("gmm_d2_k5_s72").energy, start_states(3000, 2)
    whole = sampler(energy, start, n_steps=3, generator=seeded(14))
    for n in (1, 7):
        few = sampler(energy, start[:n], n_steps=3, generator=seeded(14))
        torch.testing.assert_close(few.x, whole.x[:n], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(few.acceptance_rate, whole.acceptance_rate[:n])
    torch.set_num_threads(4)
    again = sampler(energy, start, n_steps=3, generator=seeded(14))
    torch.testing.assert_close(again.x, whole.x, rtol=1e-12, atol=1e-12)


@EVERY_SAMPLER
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_states_of_any_shape_and_dtype_are_served(sampler, dtype):
    start = start_states(8, 2, 3, 5).to(dtype)
    result = sampler(standard_normal, start, n_steps=2, thin=2, generator=seeded(15))
    assert result.x.shape == start.shape and result.x.dtype == dtype
    assert result.acceptance_rate.shape == (8,) and result.acceptance_rate.dtype == torch.float64
    assert torch.equal(result.trajectory, result.x[None])
    flat = sampler(standard_normal, start.flatten(1), n_steps=2, generator=seeded(15))
    torch.testing.assert_close(result.x.flatten(1), flat.x)


@EVERY_SAMPLER
def test_thinning_keeps_every_so_manyth_state(sampler):
    start = start_states(6, 2)
    every = sampler(standard_normal, start, n_steps=7, thin=1, generator=seeded(16))
    third = sampler(standard_normal, start, n_steps=7, thin=3, generator=seeded(16))
    assert torch.equal(third.trajectory, every.trajectory[2::3])
    assert torch.equal(third.x, every.trajectory[-1])


class Raising:
    """The standard normal energy, until it has been asked too often."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, x):
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("enough")
        return standard_normal(x)


@EVERY_SAMPLER
def test_in_place_a_failing_run_leaves_the_last_completed_step(sampler):
    start = start_states(6, 2)
    path = sampler(standard_normal, start, n_steps=30, thin=1, generator=seeded(17)).trajectory
    x = start.clone()
    with pytest.raises(ArithmeticError):
        sampler(Raising(20), x, n_steps=30, inplace=True, generator=seeded(17))
    assert any(torch.equal(x, state) for state in path[:20])

    x = start.clone()
    with pytest.raises(ArithmeticError):
        sampler(Raising(20), x, n_steps=30, generator=seeded(17))
    assert torch.equal(x, start)

    result = sampler(standard_normal, x, n_steps=30, inplace=True, generator=seeded(17))
    assert result.x is x and torch.equal(x, path[-1])


@EVERY_SAMPLER
def test_scripted_and_python_energies_give_the_same_chains(sampler):
    energy, start = target("gauss_d2_s70").energy, start_states(20, 2)
    runs = [
        sampler(e, start, n_steps=3, generator=seeded(18)).x
        for e in (energy, torch.jit.script(energy), energy.forward)
    ]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[0], runs[2])


@EVERY_SAMPLER
def test_wrong_arguments_are_named(sampler):
    op, x = sampler.func.__name__, torch.zeros(3, 2)
    for options, message in (
        ({"step_size": 0.0}, "step_size must be > 0 and finite"),
        ({"step_size": float("nan")}, "step_size must be > 0 and finite"),
        ({"step_size": torch.ones(2)}, "step_size must be one number or one for every chain"),
        ({"step_size": [0.1, 0.2]}, "step_size must be one number or one for every step"),
        ({"inverse_mass": torch.ones(3)}, "inverse_mass must have the shape of one state"),
        ({"inverse_mass": torch.zeros(2)}, "inverse_mass must be positive"),
        ({"inverse_mass": torch.full((2,), torch.nan)}, "inverse_mass must be finite"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"thin": -1}, "thin must be at least 0"),
        ({"beta": -1.0}, "beta"),
    ):
        with pytest.raises(ValueError, match=f"^{op}: {message}"):
            sampler(standard_normal, x, **options)
    for start, message in ((x[:0], "at least one chain"), (x / 0, "x must be finite")):
        with pytest.raises(ValueError, match=message):
            sampler(standard_normal, start)
    with pytest.raises(TypeError, match="x must have a floating dtype"):
        sampler(standard_normal, x.long())


@pytest.mark.parametrize(
    "sampler",
    [
        functools.partial(torch_ebm.hmc, step_size=1e-6, n_leapfrog=10_000_000),
        functools.partial(torch_ebm.nuts, step_size=1e-6, max_depth=20),
    ],
    ids=["hmc", "nuts"],
)
def test_ctrl_c_stops_within_a_step(sampler):
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            sampler(standard_normal, start_states(9, 9))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
