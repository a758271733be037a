"""NaiveMCMC, CD and PCD: where chains start, what is kept, and that they train."""

import copy
import functools

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import all_states, case, numbered_states, random_rbm, seeded, state_numbers
from statistical_checks import check_law, check_mean


class Recorder:
    """A sampler that notes what it was given and adds one draw of its generator to every state."""

    def __init__(self):
        self.starts = []

    def __call__(self, energy, x, *, generator):
        self.starts.append(x.clone())
        return x + torch.rand(1, generator=generator)


def all_three(sampler=torch_ebm.gibbs, n_chains=6, n_units=4, seed=1):
    return [
        torch_ebm.NaiveMCMC(n_chains, (n_units,), sampler, seed=seed),
        torch_ebm.CD(sampler, seed=seed),
        torch_ebm.PCD(n_chains, (n_units,), sampler, seed=seed),
    ]


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_state(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


KINDS = pytest.mark.parametrize("kind", [0, 1, 2], ids=["naive", "cd", "pcd"])


# --- Where a phase is made ------------------------------------------------------------------------

RBM = random_rbm(4, 3, 1.0, seed=1).float()
EVERY_PHASE = {
    "NaiveMCMC": lambda: torch_ebm.NaiveMCMC(6, (4,), seed=1),
    "CD": lambda: torch_ebm.CD(seed=1),
    "PCD": lambda: torch_ebm.PCD(6, (4,), seed=1),
    "FastPCD": lambda: torch_ebm.FastPCD(6, (4,), RBM, fast_learning_rate=0.1, seed=1),
    "TemperedPCD": lambda: torch_ebm.TemperedPCD(6, (4,), [1.0, 0.5], seed=1),
    "ReplayBuffer": lambda: torch_ebm.ReplayBuffer(
        9, 6, (4,), torch_ebm.gibbs, law="bernoulli", seed=1
    ),
    "UnbiasedCD": lambda: torch_ebm.UnbiasedCD(seed=1),
}


@pytest.mark.parametrize("phase", EVERY_PHASE)
def test_one_made_in_inference_mode_works_outside_of_it(phase):
    with torch.inference_mode():
        inside = EVERY_PHASE[phase]()
    outside, data = EVERY_PHASE[phase](), all_states(4).float()
    assert not any(buffer.is_inference() for buffer in inside.state_dict().values())
    for mode in (torch.enable_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            negative = inside(RBM, data)
        assert torch.equal(negative, outside(RBM, data))
    assert same_state(state_of(inside), state_of(outside))


# --- Where chains start ---------------------------------------------------------------------------


def test_naive_mcmc_starts_new_chains_at_noise():
    recorder = Recorder()
    naive = torch_ebm.NaiveMCMC(6, (2, 3), recorder, seed=1)
    naive(None), naive(None)
    first, second = recorder.starts
    assert first.shape == (6, 2, 3) and ((first == 0) | (first == 1)).all()
    assert not torch.equal(first, second)
    assert torch.equal(naive.start, second)


def test_naive_mcmc_follows_the_dtype_of_the_module():
    naive = torch_ebm.NaiveMCMC(6, (2,), Recorder(), law="normal").double()
    assert naive(None).dtype == torch.float64


def test_contrastive_divergence_starts_at_the_data():
    recorder, data = Recorder(), torch.rand(5, 4)
    cd = torch_ebm.CD(recorder)
    cd(None, data)
    assert torch.equal(recorder.starts[0], data) and torch.equal(cd.start, data)
    assert cd.start.data_ptr() != data.data_ptr()


def test_persistent_chains_go_on_where_they_stopped():
    recorder = Recorder()
    pcd = torch_ebm.PCD(6, (4,), recorder, seed=1)
    first = pcd(None)
    second = pcd(None)
    assert torch.equal(recorder.starts[1], first)
    assert torch.equal(pcd.chains, second) and torch.equal(pcd.start, first)
    assert not torch.equal(first, second)


def test_persistent_chains_are_a_buffer():
    pcd = torch_ebm.PCD(6, (4,))
    assert set(pcd.state_dict()) == {"chains", "generator_state"}
    assert pcd.double().chains.dtype == torch.float64
    assert not list(pcd.parameters())


@pytest.mark.parametrize("law", ["bernoulli", "uniform", "normal"])
def test_persistent_chains_start_from_the_given_law(law):
    pcd = torch_ebm.PCD(500, (4,), law=law, seed=3)
    assert pcd.chains.shape == (500, 4)
    expected = {"bernoulli": 2, "uniform": 2000, "normal": 2000}[law]
    assert len(pcd.chains.unique()) == pytest.approx(expected, abs=5)


@KINDS
def test_samples_are_detached_and_later_calls_leave_them_alone(kind):
    rbm, data = random_rbm(4, 3, 1.0, seed=101, dtype=torch.float32), torch.ones(6, 4)
    phase = all_three()[kind]
    negative = phase(rbm, data)
    before = negative.clone()
    for _ in range(3):
        phase(rbm, data)
    assert not negative.requires_grad and torch.equal(negative, before)
    assert all(p.grad is None for p in rbm.parameters())


# --- Randomness and resuming ----------------------------------------------------------------------


@KINDS
def test_the_seed_decides_everything(kind):
    rbm, data = random_rbm(4, 3, 1.0, seed=102, dtype=torch.float32), torch.ones(6, 4)
    runs = []
    for seed in (1, 1, 2):
        torch.rand(3)  # the default generator plays no part
        phase = all_three(seed=seed)[kind]
        runs.append(torch.stack([phase(rbm, data) for _ in range(5)]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@KINDS
def test_without_a_seed_the_default_generator_gives_one(kind):
    def first_state():
        return all_three(seed=None)[kind].generator_state

    torch.manual_seed(7)
    one, other = first_state(), first_state()
    torch.manual_seed(7)
    assert torch.equal(one, first_state()) and not torch.equal(one, other)


@KINDS
@pytest.mark.parametrize("how", ["state_dict", "deepcopy", "checkpoint"])
def test_a_restored_module_goes_on_bit_for_bit(kind, how, tmp_path):
    rbm, data = random_rbm(4, 3, 1.0, seed=103, dtype=torch.float32), torch.ones(6, 4)
    phase = all_three(seed=1)[kind]
    for _ in range(3):
        phase(rbm, data)
    if how == "deepcopy":
        restored = copy.deepcopy(phase)
    else:
        restored = all_three(seed=99)[kind]
        if how == "state_dict":
            restored.load_state_dict(state_of(phase))
        else:
            torch_ebm.save_checkpoint(tmp_path / "c.pt", phase=phase)
            torch_ebm.load_checkpoint(tmp_path / "c.pt", phase=restored)
    for _ in range(3):
        assert torch.equal(phase(rbm, data), restored(rbm, data))
    assert same_state(state_of(phase), state_of(restored))


@KINDS
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_if_the_sampler_raises_nothing_has_changed(kind, error):
    fail = False

    def sampler(energy, x, *, generator):
        torch.rand(5, generator=generator)
        x += 1
        if fail:
            raise error("no")
        return x

    phase = all_three(sampler)[kind]
    data = torch.zeros(6, 4)
    phase(None, data)
    before, start = state_of(phase), phase.start.clone()
    fail = True
    with pytest.raises(error):
        phase(None, data)
    assert same_state(before, state_of(phase)) and torch.equal(phase.start, start)
    assert not data.any()


# --- Expected gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5, 25])
def test_expected_contrastive_divergence_equals_the_stored(k):
    known, n_repeats = case("rbm_cd_5x3_s20"), 5000
    rbm, data = known.rbm(), known.array("data")
    cd = torch_ebm.CD(functools.partial(torch_ebm.gibbs, n_steps=k), seed=104)
    negative = cd(rbm, data.repeat(n_repeats, 1))
    if k < 25:
        # A chain's law depends on its datum: only by groups of the same start is it multinomial,
        # but the mixture's counts vary less than that, which errs on the safe side.
        check_law(state_numbers(negative), known.array(f"cd{k}_neg_vdist"), "k steps from the data")
    gradient = []
    states = all_states(5)
    for v in states:  # the gradient of -F at each state
        gradient.append(
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(-rbm(v[None]).sum(), rbm.parameters())]
            )
        )
    gradient = torch.stack(gradient)
    per_repeat = gradient[state_numbers(negative)].view(n_repeats, len(data), -1).mean(1)
    positive = gradient[state_numbers(data)].mean(0)
    stored = torch.cat([known.array(f"cd{k}_grad_{letter}").flatten() for letter in "Wbc"])
    check_mean(positive - per_repeat, stored, what=f"expected CD-{k} gradient")


def test_the_loss_gives_the_contrastive_divergence_gradient():
    known, n_repeats = case("rbm_cd_5x3_s20"), 5000
    rbm, data = known.rbm(), known.array("data").repeat(n_repeats, 1)
    negative = torch_ebm.CD(seed=105)(rbm, data)
    (rbm(data).mean() + torch_ebm.log_partition(rbm, negative)).backward()
    for parameter, letter in zip(rbm.parameters(), "Wbc"):
        # 200,000 chains: the standard error of a mean of numbers in [0, 1] is below 0.0012.
        torch.testing.assert_close(
            -parameter.grad, known.array(f"cd1_grad_{letter}"), rtol=0, atol=6e-3
        )


def test_long_naive_chains_follow_the_model():
    known = case("kernels_rbm_6x4_s62")
    naive = torch_ebm.NaiveMCMC(
        50_000, (6,), functools.partial(torch_ebm.gibbs, n_steps=20), seed=106
    ).double()
    check_law(state_numbers(naive(known.rbm())), known.array("probs"))


# --- Training -------------------------------------------------------------------------------------


def bars():
    """Three-unit patterns with unequal frequencies: 16 examples."""
    return numbered_states(torch.tensor([0] * 6 + [7] * 6 + [1] * 2 + [6] * 2), 3, torch.float32)


def exact_loss(energy, data):
    log_z = torch_ebm.exact_log_z(energy, data[0].numel(), dtype=data.dtype)
    return (energy(data).mean() + log_z).item()


def train(energy, phase, data, n_updates=600, learning_rate=0.05, method=torch.optim.SGD):
    optimizer = method(energy.parameters(), lr=learning_rate)
    for _ in range(n_updates):
        loss = energy(data).mean() + torch_ebm.log_partition(energy, phase(energy, data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["naive", "cd", "pcd"])
def test_a_tiny_rbm_is_trained_to_near_the_optimum(kind):
    data = bars()
    entropy = -sum(p * torch.tensor(p).log().item() for p in (6 / 16, 6 / 16, 2 / 16, 2 / 16))
    sampler = functools.partial(torch_ebm.gibbs, n_steps=5)
    phase = {
        "naive": torch_ebm.NaiveMCMC(
            500, (3,), functools.partial(torch_ebm.gibbs, n_steps=20), seed=107
        ),
        "cd": torch_ebm.CD(sampler, seed=107),
        "pcd": torch_ebm.PCD(500, (3,), sampler, seed=107),
    }[kind]
    rbm = random_rbm(3, 4, 0.5, seed=108, dtype=torch.float32)
    start = exact_loss(rbm, data)
    train(rbm, phase, data, learning_rate=0.3)
    assert start > entropy + 0.5
    assert entropy <= exact_loss(rbm, data) < entropy + 0.1


@pytest.mark.parametrize("script", [False, True])
def test_any_binary_energy_is_trained_scripted_or_not(script):
    # The optimum of a fully visible machine is stored.
    known = case("fvbm_optimum_n5_s4")
    data = known.array("data")
    optimum = FullyVisible(known.array("W_opt_loglik"), known.array("b_opt_loglik"))
    energy = FullyVisible(torch.zeros(5, 5).double(), torch.zeros(5).double())
    best, start = exact_loss(optimum, data), exact_loss(energy, data)
    energy = torch.jit.script(energy) if script else energy
    phase = torch_ebm.PCD(300, (5,), seed=109).double()
    train(energy, phase, data, n_updates=300, learning_rate=0.2)
    assert exact_loss(energy, data) - best < 0.1 * (start - best)


def test_a_continuous_energy_is_trained_by_langevin():
    data = 2 + 0.5 * torch.randn(1000, 1, generator=seeded(110))
    energy = Gaussian(torch.zeros(1), torch.ones(1, 1))
    sampler = functools.partial(torch_ebm.langevin, n_steps=10, step_size=0.02)
    phase = torch_ebm.PCD(1000, (1,), sampler, law="normal", seed=111)
    train(energy, phase, data, 400, method=torch.optim.Adam)
    assert energy.mean.item() == pytest.approx(2, abs=0.1)
    assert energy.precision.item() == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_uniform_starts_lie_below_one(dtype):
    x = torch_ebm.start_states("uniform", (10000, 100), dtype=dtype, generator=seeded(1))
    assert x.dtype == dtype and 0 < x.min() and x.max() < 1


def test_an_unknown_law_draws_no_key():
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match="law must be"):
        torch_ebm.start_states("cauchy", (2, 2), generator=generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    "result, error, text",
    [
        (lambda x: x.double() + 1, TypeError, "the dtype of the chains, torch.float32"),
        (lambda x: x / 0, ValueError, "PCD: sampler must return finite states"),
        (lambda x: x[:2], ValueError, "PCD: sampler must return the shape of the chains"),
    ],
)
def test_what_a_sampler_returns_is_checked_before_anything_changes(result, error, text):
    pcd = torch_ebm.PCD(5, (3,), lambda e, x, generator: result(x), seed=1)
    before = {name: value.clone() for name, value in pcd.state_dict().items()}
    with pytest.raises(error, match=text):
        pcd(lambda x: x.sum(1))
    for name, value in pcd.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_sampler_that_works_in_place_leaves_the_start_alone():
    move = functools.partial(torch_ebm.mala, step_size=0.3, inplace=True)
    pcd = torch_ebm.PCD(5, (3,), move, law="normal", seed=1)
    before = pcd.chains.clone()
    negative = pcd(lambda x: x.square().sum(1))
    assert torch.equal(pcd.start, before) and not torch.equal(negative, before)
    assert not negative.requires_grad


def test_a_phase_keeps_the_acceptance_rate_of_its_sampler():
    mala = functools.partial(torch_ebm.mala, step_size=1.0, n_steps=3)
    phase = torch_ebm.PCD(20, (2,), mala, law="normal", seed=1)
    assert phase.acceptance_rate is None
    phase(lambda x: x.square().sum(1))
    assert phase.acceptance_rate.shape == (20,) and 0 < phase.acceptance_rate.mean() < 1
    phase.sampler = lambda energy, x, generator: x
    phase(lambda x: x.square().sum(1))
    assert phase.acceptance_rate is None


def test_starts_on_an_interval():
    x, unit = (
        torch_ebm.start_states(law, (99, 1), dtype=torch.float64, generator=seeded(1))
        for law in ("uniform(-3, 5)", "uniform")
    )
    torch.testing.assert_close(x, -3 + 8 * unit)
    for wrong in ("uniform(1, 1)", "uniform(2, 1)", "uniform(0, inf)"):
        with pytest.raises(ValueError, match="with low < high"):
            torch_ebm.start_states(wrong, (2,))
    for wrong in ("uniform(1)", "uniform(0, 1", "uniform(0, 1) ", "uniforms", ""):
        with pytest.raises(ValueError, match="law must be"):
            torch_ebm.start_states(wrong, (2,))


def test_categorical_starts_are_one_hot_and_equally_likely():
    x = torch_ebm.start_states("categorical", (9000, 2, 3), generator=seeded(1))
    assert ((x == 0) | (x == 1)).all() and (x.sum(2) == 1).all()
    number = x.argmax(2) @ torch.tensor([3, 1])
    check_law(number, torch.full((9,), 1 / 9, dtype=torch.float64), "pairs of states")
    with pytest.raises(ValueError, match="K >= 2 states of a site"):
        torch_ebm.start_states("categorical", (5, 1))
    sampler = functools.partial(torch_ebm.gibbs, categorical=True)
    pcd = torch_ebm.PCD(4, (2, 3), sampler, law="categorical", seed=1)
    assert pcd(lambda y: (y * torch.arange(3.0)).sum((1, 2))).sum(2).eq(1).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda law: torch_ebm.NaiveMCMC(4, (2,), law=law, seed=1),
        lambda law: torch_ebm.PCD(4, (2,), law=law, seed=1),
        lambda law: torch_ebm.ReplayBuffer(8, 4, (2,), torch_ebm.gibbs, law=law, seed=1),
        lambda law: torch_ebm.TemperedPCD(4, (2,), [1.0, 0.5], law=law, seed=1),
        lambda law: torch_ebm.FastPCD(
            4, (2,), torch_ebm.RBM(2, 2), fast_learning_rate=0.1, law=law, seed=1
        ),
    ],
)
def test_a_function_may_be_the_law(make):
    def ones_and_zeros(size, generator):
        assert isinstance(generator, torch.Generator)
        return (torch.rand(size, generator=generator, dtype=torch.float64) < 0.9).double()

    phase = make(ones_and_zeros)
    positive = torch.zeros(4, 2)
    negative = phase(torch_ebm.RBM(2, 2), positive)
    assert negative.dtype == torch.float32
    again = make(ones_and_zeros)  # the seed decides what the function draws
    for one, other in zip(again.state_dict().values(), make(ones_and_zeros).state_dict().values()):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "law, error, message",
    [
        (lambda size, generator: torch.zeros(3), ValueError, r"must have shape \(4, 2\)"),
        (lambda size, generator: torch.full(size, torch.nan), ValueError, "must be finite"),
        (lambda size, generator: None, TypeError, "must be a tensor, got NoneType"),
        (3, TypeError, "law must be a name or a function, got int"),
    ],
)
def test_what_a_law_returns_is_checked(law, error, message):
    with pytest.raises(error, match=message):
        torch_ebm.start_states(law, (4, 2))


# --- The same phases in C++ -----------------------------------------------------------------------

#: What tests/cpp/learning/negative_phase_test.cpp expects too: the negative samples of the third call, a row as a
#: binary number.
SAME_IN_CPP = {
    "NaiveMCMC": [45, 37, 45, 9, 45],
    "CD": [41, 9, 45, 9, 9],
    "PCD": [45, 45, 45, 37, 45],
    "TemperedPCD": [45, 13, 45, 45, 45],
    "UnbiasedCD": [41, 10, 32, 41, 45, 45, 51, 45, 27, 41, 9, 45, 9, 45, 9, 41, 43],
    "ReplayBuffer": [49, 57, 45, 45, 43],
}


def phases_of_seed_7():
    sampler = functools.partial(torch_ebm.gibbs, n_steps=2)
    shape = (6,)
    return {
        "NaiveMCMC": torch_ebm.NaiveMCMC(5, shape, sampler, seed=7),
        "CD": torch_ebm.CD(sampler, seed=7),
        "PCD": torch_ebm.PCD(5, shape, sampler, seed=7),
        "TemperedPCD": torch_ebm.TemperedPCD(5, shape, [1.0, 0.5], sampler, seed=7),
        "UnbiasedCD": torch_ebm.UnbiasedCD(seed=7),
        "ReplayBuffer": torch_ebm.ReplayBuffer(20, 5, shape, sampler, law="bernoulli", seed=7),
    }


@pytest.mark.parametrize("name", SAME_IN_CPP)
def test_the_phase_in_cpp_draws_the_same(name):
    weight = 2 * torch.arange(24.0).sin().view(6, 4)
    rbm = torch_ebm.RBM.from_tensors(weight, torch.zeros(6), torch.zeros(4))
    data = torch.eye(6)[:5]
    phase = phases_of_seed_7()[name]
    for _ in range(3):
        negative = phase(rbm, data)
    places = 2 ** torch.arange(6)
    assert (negative.long() * places).sum(1).tolist() == SAME_IN_CPP[name]
