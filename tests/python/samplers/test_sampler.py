"""A sampler of this library is an operator with its options, wherever a sampler is taken."""

import functools

import pytest
import torch

import torch_ebm
from known_values import seeded
from torch_ebm.energy.energy import held_argument
from torch_ebm.samplers.sampler import sampler_argument

REAL = {
    "langevin": {"step_size": 0.1},
    "underdamped_langevin": {"friction": 2},  # an integer where the operator takes a float
    "mala": {"step_size": [0.1]},
    "hmc": {"n_leapfrog": 3, "inverse_mass": torch.full((4,), 0.5)},
    "nuts": {"max_depth": 3},
}
BINARY = {
    "gibbs": {"n_steps": 2, "clamp": torch.tensor([True, False, False, False])},
    "gibbs_with_gradients": {},
    "discrete_langevin": {"step_size": 0.3},
}


class Quadratic(torch.nn.Module):
    def forward(self, x):
        return (x * torch.arange(1.0, 5.0)).square().sum(1) / 2 + x[:, 0] * x[:, 1]


def annealed(sampler, binary):
    x = torch.randn(6, 4, generator=seeded(1))
    x = (x > 0).float() if binary else x
    generator = torch.Generator().manual_seed(2)
    betas = torch.linspace(0.2, 1, 4)
    return torch_ebm.anneal(Quadratic(), x, betas, sampler, generator=generator)


@pytest.mark.parametrize("name", [*REAL, *BINARY])
def test_it_is_not_called_back_and_draws_the_same(name):
    options = {**REAL, **BINARY}[name]
    sampler = functools.partial(getattr(torch_ebm, name), **options)
    with sampler_argument(sampler, Quadratic()) as argument:
        assert argument[0] == name
    ours = annealed(sampler, name in BINARY)
    called_back = annealed(lambda *args, **more: sampler(*args, **more), name in BINARY)
    assert torch.equal(ours.x, called_back.x)
    torch.testing.assert_close(ours.log_weights, called_back.log_weights)


def test_a_tuned_path_is_not_called_back():
    tuning = torch_ebm.tune_path(
        Quadratic(), torch.randn(20, 4), torch.linspace(0.2, 1, 3), n_steps=20, n_leapfrog=2
    )
    with sampler_argument(tuning, Quadratic()) as argument:
        assert argument[0] == "tuned_step"
    ours, called_back = annealed(tuning, False), annealed(lambda *a, **k: tuning(*a, **k), False)
    assert torch.equal(ours.x, called_back.x)


def test_the_outer_options_of_nested_partials_count():
    inner = functools.partial(torch_ebm.hmc, step_size=0.1, n_leapfrog=3)
    with sampler_argument(functools.partial(inner, step_size=0.2), Quadratic()) as argument:
        assert dict(zip(*argument[1:])) == {"step_size": 0.2, "n_leapfrog": 3}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_leapfrog": "ten"}, TypeError, "n_leapfrog must be an integer"),
        ({"step_size": -1.0}, ValueError, "step_size must be > 0"),
        ({"steps": 3}, TypeError, "steps"),
    ],
)
def test_options_that_do_not_fit_are_named(options, error, match):
    with pytest.raises(error, match=match):
        annealed(functools.partial(torch_ebm.hmc, **options), False)


def test_an_energy_in_training_mode_is_still_warned_of():
    energy = torch.nn.Sequential(torch.nn.BatchNorm1d(4), Quadratic())
    with pytest.warns(UserWarning, match="training mode"):
        torch_ebm.anneal(energy, torch.randn(6, 4), torch.tensor([0.5, 1.0]), torch_ebm.mala)


@pytest.mark.parametrize(
    ("sampler", "error", "match"),
    [
        (("no_such",), TypeError, "the name of an operator, the names of its options"),
        (("no_such", (), ()), TypeError, 'a sampler of this library, got "no_such"'),
        (("anneal", (), ()), TypeError, 'a sampler of this library, got "anneal"'),
        (("hmc", (), ()), TypeError, "step_size must be given"),
        (("hmc", ("step_size", "steps"), (0.1, 3)), TypeError, "hmc: it has no option steps"),
        (("hmc", ("step_size", "n_leapfrog"), (0.1, "3")), TypeError, "n_leapfrog must be of type int"),
        (("hmc", ("step_size", "beta"), (0.1, torch.ones(()))), ValueError, "beta must not be"),
        (("hmc", (3,), (0.1,)), TypeError, "names of the sampler's options must be strings"),
    ],
)
def test_a_tuple_that_is_no_sampler_is_refused(sampler, error, match):
    energy, _held = held_argument(torch_ebm.BoltzmannMachine(4))
    with pytest.raises(error, match=match):
        torch.ops.torch_ebm.anneal(energy, torch.zeros(2, 4), torch.ones(2), sampler)
