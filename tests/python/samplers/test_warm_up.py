"""The warm-up: what it finds, and that its samplers then have it."""

import functools

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import seeded
from targets import target

SAMPLERS = {
    "mala": (torch_ebm.mala, 0.574),
    "hmc": (functools.partial(torch_ebm.hmc, n_leapfrog=5), 0.8),
    "nuts": (torch_ebm.nuts, 0.8),
}
EVERY_SAMPLER = pytest.mark.parametrize("sampler", SAMPLERS)

SCALES = torch.logspace(-2, 2, 6, dtype=torch.float64)


def scaled_normal(x):
    return standard_normal(x / SCALES)


def start_states(*size, seed=81):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def sampled(sampler, energy, found, n_steps, seed=82, **options):
    return SAMPLERS[sampler][0](
        energy,
        found.x,
        step_size=found.step_size,
        inverse_mass=found.inverse_mass,
        n_steps=n_steps,
        generator=seeded(seed),
        **options,
    )


@EVERY_SAMPLER
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finds_the_variances_of_units_of_very_different_scales(sampler, dtype):
    # Exact starts, so that what is off is Monte Carlo error: some percent, in some thousand correlated states.
    start = (start_states(100, 6) * SCALES).to(dtype)
    found = torch_ebm.warm_up(
        scaled_normal,
        start,
        sampler=sampler,
        n_steps=400,
        n_leapfrog=5,
        max_depth=5,
        generator=seeded(83),
    )
    assert found.inverse_mass.shape == (6,) and found.inverse_mass.dtype == dtype
    ratio = found.inverse_mass.double() / SCALES**2
    # 1e-3 is what Stan adds to a variance, with the weight of 5 states of 20 000.
    assert (ratio - 1).abs().max() < 0.15, ratio
    assert found.x.shape == start.shape and found.x.dtype == dtype


@EVERY_SAMPLER
@pytest.mark.parametrize("target_acceptance", [None, 0.7])
def test_acceptance_afterwards_is_what_was_asked_for(sampler, target_acceptance):
    # Ten units of one mode: with few, the acceptance of a path of fixed length jumps with its step size, and on a
    # mixture it depends on where the chains are.
    one = target("gauss_d10_s71")
    found = torch_ebm.warm_up(
        one.energy,
        one.sample(50, 84),
        sampler=sampler,
        n_steps=1000,
        n_leapfrog=5,
        target_acceptance=target_acceptance,
        generator=seeded(85),
    )
    rate = sampled(sampler, one.energy, found, n_steps=100).acceptance_rate.mean()
    assert abs(rate - (target_acceptance or SAMPLERS[sampler][1])) < 0.05


@EVERY_SAMPLER
def test_sampling_goes_on_from_where_it_ends(sampler):
    # From a far start: a thousand chains, of which one state each is independent.
    one = target("gauss_d2_s70")
    found = torch_ebm.warm_up(
        one.energy,
        20 + start_states(1000, 2),
        sampler=sampler,
        n_steps=200,
        n_leapfrog=5,
        generator=seeded(86),
    )
    one.check(sampled(sampler, one.energy, found, n_steps=20).x)


def test_one_chain_is_enough():
    def energy(x):
        return standard_normal(x / scales)

    scales = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    found = torch_ebm.warm_up(energy, start_states(1, 3), generator=seeded(87))
    ratio = found.inverse_mass / scales**2
    assert 0.5 < ratio.min() and ratio.max() < 2
    result = sampled("nuts", energy, found, n_steps=200)
    assert abs(result.acceptance_rate.mean() - 0.8) < 0.1


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_finds_the_scale_of_a_step_in_few_steps(scale):
    found = torch_ebm.warm_up(
        lambda x: standard_normal(x / scale),
        scale * start_states(200, 3),
        sampler="hmc",
        n_leapfrog=3,
        n_steps=60,
        generator=seeded(88),
    )
    in_units = found.step_size * found.inverse_mass.sqrt() / scale
    assert 0.1 < in_units.min() and in_units.max() < 2


def test_a_unit_that_never_moves_keeps_a_positive_mass():
    def wall(x):  # nothing can move
        return torch.where((x == 1).all(1), 0 * x.sum(1), torch.inf)

    found = torch_ebm.warm_up(
        wall, torch.ones(3, 2), sampler="hmc", n_steps=20, generator=seeded(89)
    )
    torch.testing.assert_close(found.inverse_mass, torch.full((2,), 1e-3 * 5 / (39 + 5)))
    assert torch.equal(found.x, torch.ones(3, 2)) and found.step_size > 0


@EVERY_SAMPLER
def test_temperature_scales_the_mass(sampler):
    # 30 000 states or so, and their correlation: some percent.
    found = torch_ebm.warm_up(
        standard_normal,
        start_states(100, 2) / 2,
        sampler=sampler,
        n_steps=300,
        n_leapfrog=5,
        beta=4.0,
        generator=seeded(90),
    )
    assert (found.inverse_mass * 4 - 1).abs().max() < 0.1


def test_the_same_seed_gives_the_same_warm_up_and_leaves_x_alone():
    x = start_states(5, 2)
    before = x.clone()
    one, other = (
        torch_ebm.warm_up(standard_normal, x, n_steps=30, generator=seeded(91)) for _ in range(2)
    )
    assert torch.equal(one.x, other.x) and one.step_size == other.step_size
    assert torch.equal(one.inverse_mass, other.inverse_mass)
    assert torch.equal(x, before)


def test_one_key_is_drawn_and_no_evaluation_is_made_twice():
    calls, generator, reference = [], seeded(92), seeded(92)

    def counting(x):
        calls.append(1)
        return standard_normal(x)

    x = start_states(5, 2)
    torch_ebm.warm_up(counting, x, sampler="hmc", n_steps=40, n_leapfrog=3, generator=generator)
    torch_ebm.hmc(standard_normal, x, generator=reference)
    assert torch.equal(generator.get_state(), reference.get_state())
    assert 1 + 40 * 3 < len(calls) < 1 + 40 * 3 + 30  # two searches for a first step size


def test_a_scripted_model_can_warm_up():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.energy = target("gauss_d2_s70").energy

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, step_size, mass = torch.ops.torch_ebm.warm_up(self.energy, x, n_steps=30)
            nuts = torch.ops.torch_ebm.nuts
            return nuts(self.energy, x, step_size=step_size, inverse_mass=mass)[0]

    x = start_states(5, 2)
    y = torch.jit.script(Model())(x)
    assert y.shape == x.shape and not torch.equal(x, y)


def test_wrong_arguments_are_named():
    x = torch.zeros(3, 2)
    for options, message in (
        ({"sampler": "gibbs"}, 'sampler must be "mala", "hmc" or "nuts", got "gibbs"'),
        ({"n_steps": 19}, "n_steps must be at least 20, got 19"),
        ({"target_acceptance": 0.0}, r"target_acceptance must be in \(0, 1\), got 0"),
        ({"target_acceptance": 1.0}, r"target_acceptance must be in \(0, 1\), got 1"),
        ({"target_acceptance": float("nan")}, r"target_acceptance must be in \(0, 1\)"),
        ({"n_leapfrog": 0}, "n_leapfrog must be at least 1"),
        ({"max_depth": 0}, r"max_depth must be in \[1, 20\]"),
        ({"beta": torch.ones(2)}, "beta"),
    ):
        with pytest.raises(ValueError, match=f"^warm_up: {message}"):
            torch_ebm.warm_up(standard_normal, x, **options)
    with pytest.raises(ValueError, match="warm_up: the energy of chain 0 is not finite"):
        torch_ebm.warm_up(lambda x: x.log().sum(1), x)
