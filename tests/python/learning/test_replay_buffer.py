"""The replay buffer: which slots are drawn, started anew and written back."""

import copy
import functools

import pytest
import torch

import torch_ebm
from energies import FullyVisible, standard_normal
from known_values import case, exact_samples, state_numbers
from statistical_checks import check_count, check_law


def add_one(energy, x, *, generator):
    return x + 1


def buffer_of(n_slots, n_chains, probability, sampler=add_one, **options):
    return torch_ebm.ReplayBuffer(
        n_slots, n_chains, (), sampler, reinit_probability=probability, seed=1, **options
    )


def test_results_return_to_their_own_slots_which_are_all_different():
    replay = buffer_of(50, 20, 0.0)
    replay.states.copy_(10 * torch.arange(50))
    negative = replay(None)
    assert torch.equal(negative, replay.start + 1) and len(negative.unique()) == 20
    changed = replay.states != 10 * torch.arange(50)
    assert torch.equal(replay.states - 10 * torch.arange(50), changed.float())
    assert torch.equal(replay.states[changed], negative.sort().values)
    assert torch.equal(replay.age, changed.long())


def test_slots_are_drawn_uniformly_and_anew_every_call():
    replay, n_calls = buffer_of(8, 3, 0.0), 4000
    for _ in range(n_calls):
        replay(None)
    for slot in (0, 3, 7):
        check_count(replay.age[slot], n_calls, 3 / 8, f"draws of slot {slot}")


def test_restarts_happen_at_their_rate_and_set_the_age_back():
    replay = buffer_of(5000, 5000, 0.2)
    replay.states.fill_(100)
    replay(None)
    fresh = replay.states < 50
    check_count(fresh.sum(), 5000, 0.2, "restarts")
    assert (replay.age == 1).all()
    replay.states.fill_(100)
    replay(None)
    fresh = replay.states < 50
    assert (replay.age[fresh] == 1).all() and (replay.age[~fresh] == 2).all()
    assert len(replay.states[fresh].unique()) > 900  # drawn independently of each other


@pytest.mark.parametrize("probability, n_fresh", [(0.0, 0), (1.0, 30)])
def test_never_and_always(probability, n_fresh):
    replay = buffer_of(30, 30, probability)
    replay.states.fill_(100)
    replay(None)
    assert (replay.states < 50).sum() == n_fresh


def test_exact_chains_stay_exact():
    known = case("kernels_fvbm_n6_s60")
    energy = FullyVisible(known.array("W"), known.array("b"))
    replay = torch_ebm.ReplayBuffer(
        60_000, 30_000, (6,), torch_ebm.gibbs, law="bernoulli", reinit_probability=0.0, seed=2
    ).double()
    replay.states.copy_(exact_samples(known.array("probs"), 60_000, 6, seed=530))
    for _ in range(3):
        negative = replay(energy)
    check_law(state_numbers(negative), known.array("probs"))
    check_law(state_numbers(replay.states), known.array("probs"))


@pytest.mark.parametrize("how", ["state_dict", "deepcopy"])
def test_a_restored_buffer_goes_on_bit_for_bit(how):
    sampler = functools.partial(torch_ebm.langevin, step_size=0.1)
    make = functools.partial(torch_ebm.ReplayBuffer, 20, 5, (2,), sampler, reinit_probability=0.3)
    replay = make(seed=1)
    for _ in range(3):
        replay(standard_normal)
    restored = copy.deepcopy(replay) if how == "deepcopy" else make(seed=9)
    restored.load_state_dict(replay.state_dict())
    assert set(replay.state_dict()) == {"states", "age", "generator_state"}
    for _ in range(3):
        assert torch.equal(replay(standard_normal), restored(standard_normal))
    assert torch.equal(replay.age, restored.age) and torch.equal(replay.states, restored.states)


def test_if_the_sampler_raises_nothing_has_changed():
    def sampler(energy, x, *, generator):
        x += 1
        raise KeyError("no")

    replay = buffer_of(10, 4, 0.5, sampler)
    before = copy.deepcopy(replay.state_dict())
    with pytest.raises(KeyError):
        replay(None)
    assert all(torch.equal(before[name], value) for name, value in replay.state_dict().items())
    assert replay.start is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((3, 4, 0.5), "n_chains must be from 1 to capacity, 3, got 4"),
        ((3, 0, 0.5), "n_chains must be"),
        ((3, 2, 1.5), "reinit_probability must be in"),
        ((3, 2, float("nan")), "reinit_probability must be in"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        buffer_of(*arguments)


def test_an_energy_sees_the_slots_that_are_drawn():
    buffer = torch_ebm.ReplayBuffer(
        20, 6, (2,), functools.partial(torch_ebm.langevin, step_size=0.1), seed=3
    )
    labels, seen = torch.arange(20), []

    def energy(x):
        seen.append(labels[buffer.slots])
        return x.square().sum(1)

    before = buffer.states.clone()
    last = buffer(energy)
    assert all(torch.equal(s, buffer.slots) for s in seen)
    assert torch.equal(buffer.states[buffer.slots], last)
    rest = torch.ones(20, dtype=torch.bool)
    rest[buffer.slots] = False
    assert torch.equal(buffer.states[rest], before[rest])
