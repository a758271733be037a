"""Unbiased CD: its expectation is exact where that of CD is not, and its coupling is faithful."""

import copy

import pytest
import torch

import torch_ebm
from energies import FullyVisible
from known_values import all_states, case, random_rbm, seeded, state_numbers
from statistical_checks import check_mean


class OwnGibbs:
    """An energy whose own steps are a function of the states alone."""

    def __init__(self, step):
        self.step = step

    def __call__(self, x):
        return 0 * x.sum(1)

    def gibbs(self, x, n_steps, beta, clamp, generator):
        return self.step(x)


def flip_first_where_second_is_one(x):
    y = x.clone()
    y[:, 0] = torch.where(x[:, 1] == 1, 1 - x[:, 0], x[:, 0])
    return y


def call(energy, x, n_steps, generator):
    """States, weights and chains, by the operator."""
    with torch_ebm.energy.energy.as_argument(energy) as argument:
        return torch.ops.torch_ebm.unbiased_cd(argument, x, n_steps=n_steps, generator=generator)


def gradients_of_states(energy, n_units):
    """Of -E, at every state: (2^n, D)."""
    parameters, rows = list(energy.parameters()), []
    for v in all_states(n_units):
        gradient = torch.autograd.grad(-energy(v[None]).sum(), parameters)
        rows.append(torch.cat([g.flatten() for g in gradient]))
    return torch.stack(rows)


def estimates(energy, data, n_repeats, n_steps, seed, statistics):
    """Independent estimates of E f, one from every repetition of the data: (n_repeats, D)."""
    x, weights, chain = call(energy, data.repeat(n_repeats, 1), n_steps, seeded(seed))
    assert len(x) > len(data) * n_repeats
    terms = n_repeats * weights[:, None] * statistics[state_numbers(x)]
    zeros = torch.zeros(n_repeats, statistics.shape[1], dtype=terms.dtype)
    return zeros.index_add_(0, chain // len(data), terms)


# --- No bias --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
def test_expected_statistics_of_an_rbm_are_exact_where_those_of_cd_are_not(k):
    known = case("rbm_cd_5x3_s20")
    rbm = known.rbm()
    statistics = gradients_of_states(rbm, 5)
    law = torch.softmax(-rbm(all_states(5)).detach(), 0)
    found = estimates(rbm, known.array("data"), 5000, k, 610 + k, statistics)
    check_mean(found, law @ statistics, what=f"unbiased CD-{k}")
    biased = known.array(f"cd{k}_neg_vdist") @ statistics
    z = (found.mean(0) - biased) / (found.var(0) / len(found)).sqrt()
    assert z.abs().max() > 10


def test_any_binary_energy_will_do():
    known = case("kernels_fvbm_n6_s60")
    energy = FullyVisible(known.array("W"), known.array("b"))
    x = all_states(6)
    pairs = torch.stack([x[:, i] * x[:, j] for i, j in torch.triu_indices(6, 6).t()], 1)
    found = estimates(energy, x[[0, 63, 21]], 10_000, 1, 613, pairs)
    check_mean(found, known.array("probs") @ pairs, what="fully visible machine")


def test_the_expected_gradient_of_the_loss_is_that_of_the_likelihood():
    known = case("rbm_cd_5x3_s20")
    rbm, data = known.rbm(), known.array("data")
    exact = torch.autograd.grad(rbm(data).mean() + rbm.log_z(), list(rbm.parameters()))
    phase = torch_ebm.UnbiasedCD(seed=614)
    found = []
    for _ in range(100):
        negative = phase(rbm, data.repeat(20, 1))
        loss = rbm(data).mean() + torch_ebm.log_partition(rbm, negative, weights=phase.weights)
        gradient = torch.autograd.grad(loss, list(rbm.parameters()))
        found.append(torch.cat([g.flatten() for g in gradient]))
    check_mean(torch.stack(found), torch.cat([g.flatten() for g in exact]), what="gradient")


# --- The coupling ---------------------------------------------------------------------------------


def transcription(energy, x, k, generator):
    """The terms of one chain, and its meeting time; 10 steps beyond it the chains are still together."""

    def step(state, generator):
        return torch_ebm.gibbs(energy, state, generator=generator).x

    ahead, behind = [x, step(x, generator)], [x]
    tau = None
    while tau is None or len(ahead) <= max(k, tau) + 10:
        if tau is None and torch.equal(ahead[-1], behind[-1]):
            tau = len(behind)
        same = torch.Generator()
        same.set_state(generator.get_state())
        ahead.append(step(ahead[-1], generator))
        behind.append(step(behind[-1], same))
    assert all(torch.equal(ahead[t], behind[t - 1]) for t in range(tau, len(ahead)))
    terms = [(ahead[k], 1)]
    for t in range(k + 1, tau):
        terms += [(ahead[t], 1), (behind[t - 1], -1)]
    return torch.cat([x for x, _ in terms]), torch.tensor([w for _, w in terms]), tau


@pytest.mark.parametrize("k", [1, 3])
def test_a_chain_is_the_published_estimator(k):
    rbm, late = random_rbm(6, 3, 2.5, seed=620), 0
    energies = [rbm, torch.jit.script(rbm)]
    for seed in range(60):
        x = all_states(6)[seed][None]
        expected, signs, tau = transcription(rbm, x, k, seeded(seed))
        found, weights, chain = call(energies[seed % 2], x, k, seeded(seed))
        assert torch.equal(found, expected) and torch.equal(weights, signs.double())
        assert not chain.any()
        late += tau > k + 1  # so that there are terms after the first
    assert late > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_are_fractions_of_the_number_of_chains_and_sum_to_one(dtype):
    rbm, data = random_rbm(6, 3, 2.0, seed=616, dtype=dtype), all_states(6, dtype).repeat(5, 1)
    phase = torch_ebm.UnbiasedCD(n_steps=2, seed=1)
    assert phase.weights is None
    negative = phase(rbm, data)
    weights = phase.weights
    assert negative.dtype == dtype and len(weights) == len(negative) > len(data)
    assert weights.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.allclose(weights.abs(), torch.ones_like(weights) / len(data))
    assert weights.double().sum().item() == pytest.approx(1, abs=1e-5)
    assert (weights[: len(data)] > 0).all()


def test_every_negative_sample_knows_its_start():
    rbm, data = random_rbm(6, 3, 2.0, seed=617, dtype=torch.float32), all_states(6, torch.float32)
    phase = torch_ebm.UnbiasedCD(n_steps=2, seed=1)
    negative = phase(rbm, data)
    _, _, chain = call(rbm, data, 2, seeded(1))
    assert torch.equal(phase.start, data[chain]) and torch.equal(chain[:64], torch.arange(64))
    monitor = torch_ebm.TrainingMonitor()
    monitor.update(rbm(data), rbm(negative), data, negative, phase.start)


# --- Failure, randomness, resuming ----------------------------------------------------------------


def test_chains_that_do_not_meet_are_counted_and_nothing_changes():
    phase = torch_ebm.UnbiasedCD(max_steps=7, seed=1)
    phase(OwnGibbs(lambda x: x), torch.zeros(2, 3))
    state, weights, start = phase.generator_state.clone(), phase.weights, phase.start
    data = torch.tensor([[0.0, 1, 0], [1, 1, 0], [1, 0, 1]])
    before = data.clone()
    with pytest.raises(RuntimeError, match="2 of 3 chains have not met after max_steps = 7 steps"):
        phase(OwnGibbs(flip_first_where_second_is_one), data)
    assert torch.equal(phase.generator_state, state) and torch.equal(data, before)
    assert phase.weights is weights and phase.start is start


@pytest.mark.parametrize("max_steps, passes", [(2, False), (3, True)])
def test_chains_may_meet_in_the_last_step(max_steps, passes):
    # Each step clears the first one of a row. 11, 01, 00, 00: a(3) = b(2); 00 meets at once.
    energy = OwnGibbs(lambda x: x * (x.cumsum(1) != 1))
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    phase = torch_ebm.UnbiasedCD(max_steps=max_steps, seed=1)
    if passes:
        assert phase(energy, x).tolist() == [[0, 0], [0, 1], [0, 0], [0, 1]]
        assert phase.weights.tolist() == [0.5, 0.5, 0.5, -0.5]
        assert phase.start.tolist() == [[0, 0], [1, 1], [1, 1], [1, 1]]
    else:
        with pytest.raises(RuntimeError, match="1 of 2 chains"):
            phase(energy, x)


def test_chains_that_have_met_by_the_first_counted_step_make_no_more():
    phase, data = torch_ebm.UnbiasedCD(n_steps=2, max_steps=2, seed=1), torch.ones(3, 4)
    assert torch.equal(phase(OwnGibbs(lambda x: x), data), data) and len(phase.weights) == 3


def test_an_energy_that_raises_changes_nothing():
    def fail(x):
        raise KeyError("no")

    phase = torch_ebm.UnbiasedCD(seed=1)
    state = phase.generator_state.clone()
    with pytest.raises(KeyError):
        phase(OwnGibbs(fail), torch.zeros(2, 3))
    assert torch.equal(phase.generator_state, state)
    assert phase.start is None and phase.weights is None


@pytest.mark.parametrize("how", ["state_dict", "deepcopy"])
def test_a_restored_module_goes_on_bit_for_bit(how):
    rbm, data = random_rbm(6, 3, 2.0, seed=618, dtype=torch.float32), all_states(6, torch.float32)
    phase = torch_ebm.UnbiasedCD(seed=1)
    for _ in range(3):
        phase(rbm, data)
    restored = copy.deepcopy(phase)
    if how == "state_dict":
        restored = torch_ebm.UnbiasedCD(seed=99)
        restored.load_state_dict(phase.state_dict())
    last = None
    for _ in range(3):
        negative = phase(rbm, data)
        assert torch.equal(negative, restored(rbm, data))
        assert torch.equal(phase.weights, restored.weights)
        assert last is None or not torch.equal(negative, last)
        last = negative


def test_without_a_generator_the_default_one_is_used():
    rbm, x = random_rbm(6, 3, 2.0, seed=619), all_states(6)
    torch.manual_seed(5)
    one = call(rbm, x, 1, None)[0]
    assert torch.equal(one, call(rbm, x, 1, seeded(5))[0])
    assert not torch.equal(one, call(rbm, x, 1, None)[0])


@pytest.mark.parametrize(
    "options, data, message",
    [
        ({"n_steps": 0}, torch.zeros(2, 6), "n_steps must be at least 1, got 0"),
        ({"n_steps": 5, "max_steps": 4}, torch.zeros(2, 6), "max_steps must be at least 5, got 4"),
        ({}, None, "UnbiasedCD: positive must be the batch of data"),
        ({}, torch.zeros(0, 6), "x must hold at least one chain"),
        ({}, torch.full((2, 6), 0.5), "x must"),
        ({}, torch.full((2, 6), torch.nan), "x must"),
    ],
)
def test_bad_arguments_are_named(options, data, message):
    phase = torch_ebm.UnbiasedCD(seed=1, **options)
    state = phase.generator_state.clone()
    with pytest.raises(ValueError, match=message):
        phase(random_rbm(6, 3, 2.0, seed=618, dtype=torch.float32), data)
    assert torch.equal(phase.generator_state, state)
