"""Fast PCD: what the chains see, what is learned fast, and what is left alone."""

import copy
import math

import pytest
import torch

import torch_ebm
from known_values import exact_samples, make_rbm, random_rbm


def small_rbm(dtype=torch.float64):
    return random_rbm(4, 3, 1.0, seed=601, dtype=dtype)


def some_data(dtype=torch.float64):
    return exact_samples(torch.ones(16) / 16, 6, 4, seed=602, dtype=dtype)


def fast_of(rbm, sampler=torch_ebm.gibbs, **options):
    options = {"fast_learning_rate": 0.5, "decay": 0.9, "seed": 1, **options}
    n_chains = options.pop("n_chains", 5)
    return torch_ebm.FastPCD(n_chains, (rbm.n_visible,), rbm, sampler, **options).to(
        rbm.weight.dtype
    )


def values(module):
    return [p.detach().clone() for p in module.parameters()]


def equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other))


def state_of(phase):
    return {name: value.clone() for name, value in phase.state_dict().items()}


def same_state(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def statistics(visible, weight, hidden_bias):
    """Means of the gradients of -F: of v_i p_j, v_i and p_j, where p_j = P(h_j = 1 | v)."""
    p = torch.sigmoid(visible @ weight + hidden_bias)
    return [visible.t() @ p / len(visible), visible.mean(0), p.mean(0)]


# --- The algorithm --------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [False, True])
def test_it_is_the_published_algorithm(script):
    rbm, data = small_rbm(), some_data()
    energy = torch.jit.script(rbm) if script else rbm
    phase = fast_of(rbm)
    chains, generator = phase.chains.clone(), torch.Generator()
    generator.set_state(phase.generator_state)
    fast = [torch.zeros_like(p) for p in values(rbm)]
    for _ in range(6):
        negative = phase(energy, data)
        theta = values(rbm)
        moved = make_rbm(*(t + f for t, f in zip(theta, fast)))
        chains = torch_ebm.gibbs(moved, chains, generator=generator).x
        assert torch.equal(negative, chains) and torch.equal(phase.chains, chains)
        on_data, on_chains = (statistics(v, theta[0], theta[2]) for v in (data, chains))
        fast = [0.9 * f + 0.5 * (p - n) for f, p, n in zip(fast, on_data, on_chains)]
        for one, other in zip(phase.fast.own_tensors(), fast):
            torch.testing.assert_close(one, other)
        fast = [f.clone() for f in phase.fast.own_tensors()]
        with torch.no_grad():  # learning goes on meanwhile
            for parameter in rbm.parameters():
                parameter += 0.1
    assert max(f.abs().max() for f in fast) > 0.3


def test_without_fast_learning_it_is_pcd_bit_for_bit():
    rbm, data = small_rbm(), some_data()
    phase = fast_of(rbm, fast_learning_rate=0.0, decay=0.0)
    plain = torch_ebm.PCD(5, (4,), seed=1).double()
    for _ in range(5):
        assert torch.equal(phase(rbm, data), plain(rbm))
        assert torch.equal(phase.start, plain.start)
    assert torch.equal(phase.generator_state, plain.generator_state)


def test_a_parameter_that_the_energy_ignores_only_decays():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used = torch.nn.Parameter(torch.zeros(4))
            self.unused = torch.nn.Parameter(torch.zeros(2))
            self.fixed = torch.nn.Parameter(torch.zeros(3), requires_grad=False)

        def forward(self, x):
            return -x @ self.used

    energy = Half()
    phase = torch_ebm.FastPCD(5, (4,), energy, fast_learning_rate=1.0, decay=0.5, seed=1)
    used, unused = phase.fast.own_tensors()
    unused.fill_(8.0)
    negative = phase(energy, torch.ones(3, 4))
    assert (unused == 4).all() and torch.equal(used, 1 - negative.mean(0))


def hamming_per_call(phase, *arguments, n_calls=300):
    total = 0.0
    for _ in range(n_calls):
        negative = phase(*arguments)
        total += (negative != phase.start).sum(1).double().mean().item()
    return total / n_calls


def test_fast_weights_move_the_chains():
    # Two modes, all zeros and all ones, between which Gibbs sampling never crosses.
    rbm = make_rbm(torch.full((8, 2), 6.0), torch.full((8,), -6.0), torch.full((2,), -24.0))
    data = torch.cat([torch.zeros(10, 8), torch.ones(10, 8)]).double()
    phase = fast_of(rbm, n_chains=50, fast_learning_rate=1.0, decay=0.95)
    plain = torch_ebm.PCD(50, (8,), seed=1).double()
    for each in (phase, plain):
        each.chains.zero_()
    fast, slow = hamming_per_call(phase, rbm, data), hamming_per_call(plain, rbm)
    assert fast > 3 * slow
    assert 0.2 < phase.chains.mean() < 0.8 and not plain.chains.any()


# --- What is left alone ---------------------------------------------------------------------------


def test_the_sampler_sees_the_moved_parameters_and_they_come_back_to_the_last_bit():
    rbm, data, seen = small_rbm(torch.float32), some_data(torch.float32), []

    def sampler(energy, x, *, generator):
        seen.append(values(energy))
        return torch_ebm.gibbs(energy, x, generator=generator)

    phase = fast_of(rbm, sampler)
    before = values(rbm)
    for _ in range(4):
        fast = [f.clone() for f in phase.fast.own_tensors()]
        phase(rbm, data)
        assert equal(seen[-1], [b + f for b, f in zip(before, fast)])
        assert equal(values(rbm), before)
    # Adding and subtracting would not do it.
    assert not equal([(b + f) - f for b, f in zip(before, fast)], before)


def test_gradients_and_recorded_graphs_are_left_alone():
    rbm, data = small_rbm(), some_data()
    phase = fast_of(rbm)
    for parameter in rbm.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    phase(rbm, data)
    assert all((p.grad == 3).all() for p in rbm.parameters())
    rbm.zero_grad()

    def decayed_loss():  # the graph of the square holds the weights themselves
        return rbm(data).mean() + rbm.weight.square().sum()

    expected = torch.autograd.grad(decayed_loss(), list(rbm.parameters()))
    loss = decayed_loss()
    negative = phase(rbm, data)
    loss.backward()
    assert not negative.requires_grad and equal([p.grad for p in rbm.parameters()], expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_in_every_grad_mode(mode):
    rbm, data = small_rbm(), some_data()
    one, other = fast_of(rbm), fast_of(rbm)
    for _ in range(3):
        with mode():
            inside = one(rbm, data.clone())
        assert torch.equal(inside, other(rbm, data))
    assert same_state(state_of(one), state_of(other))


def check_nothing_changes(phase, rbm, data, error, **match):
    before, start, parameters = state_of(phase), phase.start.clone(), values(rbm)
    with pytest.raises(error, **match):
        phase(rbm, data)
    assert same_state(before, state_of(phase)) and torch.equal(phase.start, start)
    assert equal(values(rbm), parameters)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_if_the_sampler_raises_nothing_has_changed(error):
    fail = False

    def sampler(energy, x, *, generator):
        torch.rand(5, generator=generator)
        x = torch_ebm.gibbs(energy, x, inplace=True, generator=generator).x
        if fail:
            raise error("no")
        return x

    rbm, data = small_rbm(torch.float32), some_data(torch.float32)
    phase = fast_of(rbm, sampler)
    phase(rbm, data)
    fail = True
    check_nothing_changes(phase, rbm, data, error)


def test_bad_data_change_nothing():
    rbm, data = small_rbm(), some_data()
    phase = fast_of(rbm)
    phase(rbm, data)
    check_nothing_changes(phase, rbm, None, ValueError, match="FastPCD: positive must be")
    check_nothing_changes(phase, rbm, data[:, :3], ValueError, match="visible must have shape")
    check_nothing_changes(
        phase, rbm, data * math.nan, ValueError, match="gradient of energy must be finite"
    )
    phase.sampler = lambda energy, x, *, generator: x[1:]
    check_nothing_changes(phase, rbm, data, ValueError, match="sampler must return the shape")


@pytest.mark.parametrize("how", ["state_dict", "deepcopy"])
def test_a_restored_module_goes_on_bit_for_bit(how):
    rbm, data = small_rbm(), some_data()
    phase = fast_of(rbm)
    for _ in range(3):
        phase(rbm, data)
    restored = copy.deepcopy(phase)
    if how == "state_dict":
        restored = fast_of(rbm, seed=99)
        restored.load_state_dict(state_of(phase))
    for _ in range(3):
        assert torch.equal(phase(rbm, data), restored(rbm, data))
    assert same_state(state_of(phase), state_of(restored))
    names = {"chains", "generator_state", "fast.0", "fast.1", "fast.2"}
    assert set(state_of(phase)) == names and not list(phase.parameters())


# --- Bad arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fast_learning_rate": -1.0}, "fast_learning_rate must be finite and >= 0, got -1.0"),
        ({"fast_learning_rate": math.nan}, "fast_learning_rate must be"),
        ({"fast_learning_rate": math.inf}, "fast_learning_rate must be"),
        ({"decay": 1.5}, r"decay must be in \[0, 1\], got 1.5"),
        ({"decay": math.nan}, "decay must be"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match="FastPCD: " + message):
        fast_of(small_rbm(), **options)


def test_energies_without_the_parameters_are_named():
    phase, data = fast_of(small_rbm()), some_data()
    with pytest.raises(TypeError, match="energy must be a module, got function"):
        phase(lambda x: x.sum(1), data)
    with pytest.raises(ValueError, match=r"of shapes \[\(4, 3\), .*got \[\(4, 2\)"):
        phase(torch_ebm.RBM(4, 2), data)
    with pytest.raises(ValueError, match="module must have parameters that require a gradient"):
        fast_of(small_rbm().requires_grad_(False))


def test_training_with_fast_weights_learns():
    data = torch.tensor([[0.0] * 3] * 6 + [[1.0] * 3] * 6 + [[1.0, 0, 0]] * 2 + [[0, 1.0, 1.0]] * 2)
    rbm = random_rbm(3, 4, 0.5, seed=603, dtype=torch.float32)
    phase = fast_of(rbm, n_chains=200, fast_learning_rate=0.05)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.2)
    start = (rbm(data).mean() + rbm.log_z()).item()
    for _ in range(400):
        loss = rbm(data).mean() + torch_ebm.log_partition(rbm, phase(rbm, data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shares = torch.tensor([6, 6, 2, 2]) / 16
    entropy = torch.special.entr(shares).sum().item()
    assert (rbm(data).mean() + rbm.log_z()).item() < entropy + 0.25 * (start - entropy)
