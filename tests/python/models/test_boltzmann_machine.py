"""The fully visible Boltzmann machine: its energy, and its samplers against exact kernels."""

import functools
import math

import pytest
import torch

import torch_ebm
from energies import FullyVisible
from known_values import all_states, case, exact_samples, numbered_states, seeded, state_numbers
from statistical_checks import check_law, check_mean, check_rows, check_uncorrelated_columns

KERNELS = "kernels_fvbm_n6_s60"
N_UNITS = 6
ops = torch.ops.torch_ebm

EVERY_DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
EVERY_SAMPLER = pytest.mark.parametrize("sampler", ["gibbs", "gibbs_with_gradients"])
STORED = {"gibbs": "gibbs_systematic_scan", "gibbs_with_gradients": "gibbs_with_gradients"}


def machine(name=KERNELS, dtype=torch.float64):
    known = case(name)
    return make_machine(known.array("W"), known.array("b"), dtype)


def make_machine(weight, bias, dtype=torch.float64):
    model = torch_ebm.BoltzmannMachine(len(bias), dtype=dtype)
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.copy_(bias)
    return model


def random_machine(n_units, scale, seed, dtype=torch.float64):
    generator = seeded(seed)
    weight = scale * torch.randn(n_units, n_units, generator=generator, dtype=torch.float64)
    return make_machine(weight, torch.randn(n_units, generator=generator).double(), dtype)


def sample(model, sampler, x, **options):
    """The states alone, of either sampler."""
    result = getattr(torch_ebm, f"boltzmann_{sampler}")(x, model.weight, model.bias, **options)
    return result if sampler == "gibbs" else result[0]


@functools.cache
def law(beta=1.0):
    return torch.softmax(beta * case(KERNELS).array("logf"), 0)


# --- The energy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [KERNELS, "kernels_fvbm_n8_s61"])
def test_energy_equals_the_stored_log_density(name):
    known = case(name)
    states = all_states(len(known.array("b")))
    torch.testing.assert_close(-machine(name)(states), known.array("logf"), rtol=0, atol=1e-12)


def test_only_the_symmetric_part_counts_and_no_diagonal():
    model, states = random_machine(5, 1.0, seed=1), all_states(5)
    changed = model.weight.detach().clone()
    changed[1, 3] += 0.75
    changed[3, 1] -= 0.75
    changed.diagonal().fill_(1e30)
    other = make_machine(changed, model.bias.detach())
    torch.testing.assert_close(other(states), model(states), rtol=0, atol=1e-12)
    for sampler in STORED:
        one, two = (
            sample(m, sampler, states, n_steps=3, generator=seeded(2)) for m in (model, other)
        )
        assert torch.equal(one, two)


def test_gradients_are_those_of_the_formula():
    model, x = random_machine(5, 1.0, seed=3), torch.randn(7, 5).double().requires_grad_()
    model(x).sum().backward()
    pairs = -0.5 * torch.einsum("ni,nj->ij", x, x).fill_diagonal_(0)
    torch.testing.assert_close(model.weight.grad, pairs.detach())
    torch.testing.assert_close(model.bias.grad, -x.sum(0).detach())
    coupling = (model.weight + model.weight.T).detach().fill_diagonal_(0) / 2
    torch.testing.assert_close(-x.grad, (model.bias + x @ coupling).detach())


def test_scripted_module_is_the_same():
    model = random_machine(6, 1.0, seed=4)
    scripted, states = torch.jit.script(model), all_states(6)
    assert torch.equal(scripted(states), model(states))
    for sampler in STORED:
        one, two = (getattr(m, sampler)(states, 3, generator=seeded(5)) for m in (model, scripted))
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_state_dict_and_first_weights():
    model = torch_ebm.BoltzmannMachine(100)
    assert list(model.state_dict()) == ["weight", "bias"]
    assert model.weight.std().item() == pytest.approx(0.01, rel=0.05) and not model.bias.any()
    with pytest.raises(ValueError, match="n_units must be at least 1, got 0"):
        torch_ebm.BoltzmannMachine(0)


# --- Both samplers --------------------------------------------------------------------------------


@EVERY_DTYPE
@EVERY_SAMPLER
def test_every_row_of_the_kernel(sampler, dtype):
    n_draws = 8192
    start = all_states(N_UNITS, dtype).repeat_interleave(n_draws, 0)
    x = sample(machine(dtype=dtype), sampler, start, generator=seeded(11))
    assert x.dtype == dtype
    numbers = state_numbers(x).view(64, n_draws)
    check_rows(list(zip(numbers, case(KERNELS).array(f"T_{STORED[sampler]}"))))


@EVERY_DTYPE
@EVERY_SAMPLER
def test_the_exact_law_is_left_invariant(sampler, dtype):
    start = exact_samples(law(), 200_000, N_UNITS, seed=12, dtype=dtype)
    x = sample(machine(dtype=dtype), sampler, start, n_steps=5, generator=seeded(13))
    check_law(state_numbers(x), law())


@pytest.mark.parametrize("name, n_units", [(KERNELS, 6), ("kernels_fvbm_n8_s61", 8)])
@EVERY_SAMPLER
def test_chains_move_from_zero_as_fast_as_they_should(sampler, name, n_units):
    start, rows = torch.zeros(20_000, n_units, dtype=torch.float64), []
    for n_steps in (1, 2, 5, 20, 100):
        x = sample(machine(name), sampler, start, n_steps=n_steps, generator=seeded(14))
        rows.append((state_numbers(x), case(name).array(f"p_t{n_steps}_{STORED[sampler]}")))
    check_rows(rows, "laws after 1, 2, 5, 20 and 100 steps")


@EVERY_SAMPLER
def test_every_chain_has_its_own_temperature(sampler):
    betas, n_chains = torch.tensor([0.0, 0.5, 1.0, 2.5], dtype=torch.float64), 50_000
    start = [exact_samples(law(b.item()), n_chains, N_UNITS, seed=15) for b in betas]
    x = sample(
        machine(),
        sampler,
        torch.cat(start),
        n_steps=3,
        beta=betas.repeat_interleave(n_chains),
        generator=seeded(16),
    )
    laws = [law(b.item()) for b in betas]
    check_rows(list(zip(state_numbers(x).view(4, n_chains), laws)))


@EVERY_SAMPLER
def test_one_temperature_for_all_is_as_many_equal_ones(sampler):
    start = all_states(N_UNITS)
    one, many = (
        sample(machine(), sampler, start, n_steps=9, beta=b, generator=seeded(17))
        for b in (0.5, torch.full((64,), 0.5))
    )
    assert torch.equal(one, many)


@EVERY_DTYPE
@EVERY_SAMPLER
def test_neither_threads_nor_other_chains_nor_pieces_change_a_chain(sampler, dtype):
    # 70 units in 40 sweeps, or 600 steps, are more than one piece of work.
    model = random_machine(70, 0.3, seed=18, dtype=dtype)
    start = (torch.arange(70) % 2).to(dtype).expand(300, -1)
    n_steps = 40 if sampler == "gibbs" else 600

    def states(n_chains):
        x = start[:n_chains]
        return sample(model, sampler, x, n_steps=n_steps, generator=seeded(19))

    expected = states(300)
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        assert torch.equal(states(300), expected)
        assert torch.equal(states(7), expected[:7])
    assert (expected != start).any(1).all() and len(expected.unique(dim=0)) == 300


@EVERY_SAMPLER
def test_many_independent_units(sampler):
    # 150 units without couplings: wider than a tile of random words and than any register.
    bias = torch.linspace(-2, 2, 150)
    model = make_machine(torch.zeros(150, 150), bias, torch.float32)
    start = torch.bernoulli(torch.sigmoid(bias).expand(40_000, -1), generator=seeded(20))
    n_steps = 2 if sampler == "gibbs" else 200
    x = sample(model, sampler, start, n_steps=n_steps, generator=seeded(21))
    p = torch.sigmoid(bias.double())
    check_mean(x, p, p * (1 - p), "mean of the units")
    check_uncorrelated_columns(x)


@EVERY_SAMPLER
def test_very_unlikely_states_are_left_at_once(sampler):
    # Logits of hundreds: weights of flips differ by more than any float holds.
    bias = torch.tensor([400.0, -400.0, 400.0, -400.0, 400.0])
    model = make_machine(torch.zeros(5, 5), bias, torch.float32)
    start = (bias < 0).float().expand(1000, -1)
    x = sample(model, sampler, start, n_steps=5, generator=seeded(22))
    assert torch.equal(x, (bias > 0).float().expand(1000, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@EVERY_SAMPLER
def test_half_precision_makes_the_chains_of_float(sampler, dtype):
    half = random_machine(12, 0.5, seed=23).to(dtype)
    options = {"n_steps": 20, "beta": 0.999}
    start = torch.zeros(200, 12)
    states = sample(half, sampler, start.to(dtype), generator=seeded(24), **options)
    expected = sample(half.float(), sampler, start, generator=seeded(24), **options)
    assert states.dtype == dtype and torch.equal(states.float(), expected)


@EVERY_SAMPLER
@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": torch.full((2, 6), 0.5)}, "x must hold zeros and ones only, got 0.5"),
        ({"x": torch.zeros(0, 6)}, "x must hold at least one chain"),
        ({"x": torch.zeros(2, 5)}, r"x must have shape \(N, D\) = \(any, 6\), got \(2, 5\)"),
        ({"weight": torch.zeros(6, 5)}, r"weight must have shape \(D, D\) = \(6, 6\), got"),
        ({"weight": torch.full((6, 6), math.nan)}, "weight must be finite, got 36 NaN"),
        ({"bias": torch.full((6,), math.inf)}, "bias must be finite"),
        ({"weight": torch.full((6, 6), 3e38), "x": torch.ones(2, 6)}, "sums overflow"),
        ({"n_steps": 0}, "n_steps must be at least 1, got 0"),
        ({"beta": -1.0}, "beta must not be negative"),
        ({"beta": torch.ones(3)}, r"got \(3,\)"),
    ],
)
def test_bad_input_is_refused_by_name(sampler, change, message):
    arguments = {"x": torch.zeros(2, 6), "weight": torch.zeros(6, 6), "bias": torch.zeros(6)}
    arguments.update(change)
    with pytest.raises(ValueError, match=f"boltzmann_{sampler}: .*{message}"):
        getattr(torch_ebm, f"boltzmann_{sampler}")(**arguments)
    with pytest.raises(TypeError, match="x must have the dtype of weight"):
        getattr(torch_ebm, f"boltzmann_{sampler}")(
            torch.zeros(2, 6), torch.zeros(6, 6).double(), torch.zeros(6).double()
        )


# --- Gibbs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_chain", [False, True])
def test_clamped_units_stay_and_the_others_follow_the_conditional_law(per_chain):
    clamp = torch.tensor([False, True, False, False, True, False])
    start = torch.tensor([0.0, 1, 0, 0, 0, 0]).double().expand(50_000, -1)
    mask = clamp.expand(50_000, -1) if per_chain else clamp
    x = torch_ebm.gibbs(machine(), start, n_steps=12, clamp=mask, generator=seeded(31)).x
    states = all_states(N_UNITS)
    conditional = law() * ((states[:, 1] == 1) & (states[:, 4] == 0))
    check_law(state_numbers(x), conditional / conditional.sum())


def test_sweeps_of_different_pieces_of_work_are_independent():
    # The chain of 32 sweeps continues that of 16: the same numbers again would lead to the same state.
    start = torch.zeros(50_000, N_UNITS, dtype=torch.float64)
    one, two = (
        state_numbers(sample(machine(), "gibbs", start, n_steps=n, generator=seeded(33)))
        for n in (16, 32)
    )
    check_mean((one == two).double(), law().square().sum(), what="chance of the same state")


def test_the_driver_runs_the_fused_sweeps():
    model, start = machine(), all_states(N_UNITS)
    expected = sample(model, "gibbs", start, n_steps=4, generator=seeded(32))
    for energy in (model, torch.jit.script(model)):
        x = torch_ebm.gibbs(energy, start, n_steps=4, generator=seeded(32)).x
        assert torch.equal(x, expected)


# --- Gibbs with gradients -------------------------------------------------------------------------


@EVERY_DTYPE
def test_acceptance_rate_is_the_mean_probability_of_accepting(dtype):
    # From every state: sum_i q(i | x) min(1, S(x) / S(x')), by the formula.
    known, states = case(KERNELS), all_states(N_UNITS)
    log_f = known.array("logf")
    neighbours = torch.arange(64)[:, None] ^ (1 << torch.arange(N_UNITS))
    d = log_f[neighbours] - log_f[:, None]
    total = torch.exp(d / 2).sum(1)
    ratio = (total[:, None] / total[neighbours]).clamp(max=1)
    q = torch.softmax(d / 2, 1)
    mean = (q * ratio).sum(1)
    variance = (q * ratio.square()).sum(1) - mean.square()
    n_draws = 4096
    model = machine(dtype=dtype)
    _, rate = model.gibbs_with_gradients(
        states.to(dtype).repeat_interleave(n_draws, 0), generator=seeded(41)
    )
    assert rate.dtype == torch.float64 and rate.shape == (64 * n_draws,)
    by_state = rate.view(64, n_draws)
    assert by_state.min(1).values == pytest.approx(ratio.min(1).values, rel=2e-6)
    varies = variance > 1e-12
    check_mean(by_state.T[:, varies], mean[varies], variance[varies], "acceptance by state")
    torch.testing.assert_close(by_state[~varies].mean(1), mean[~varies], rtol=2e-6, atol=0)


def test_acceptance_rate_is_a_mean_over_steps():
    # At stationarity the mean of many steps is that of one. At beta = 0 all flips are accepted.
    model = machine()
    start = exact_samples(law(), 20_000, N_UNITS, seed=42)
    one = model.gibbs_with_gradients(start, 1, generator=seeded(43))[1]
    many = model.gibbs_with_gradients(start, 50, generator=seeded(44))[1]
    difference = one - many
    check_mean(difference, 0.0, what="acceptance rate of 50 steps")
    hot = torch.tensor(0.0)
    assert (model.gibbs_with_gradients(start[:9], 7, hot, seeded(45))[1] == 1).all()


def test_rejected_chains_stay_and_accepted_ones_flip_one_unit():
    start = numbered_states(torch.arange(64), N_UNITS)
    x, rate = machine().gibbs_with_gradients(start, generator=seeded(46))
    flips = (x != start).sum(1)
    assert ((flips == 1) | (flips == 0)).all() and (flips[rate == 1] == 1).all()
    assert (flips == 0).any()


def test_long_chains_keep_the_field_of_their_state():
    # The sampler updates the field by rows; a generic energy sees the states alone.
    model = random_machine(40, 0.5, seed=47, dtype=torch.float32)
    start = torch.zeros(64, 40)
    x, _ = model.gibbs_with_gradients(start, 5000, generator=seeded(48))
    again, _ = model.gibbs_with_gradients(x, 5000, generator=seeded(49))
    weight = model.weight.detach()
    generic = FullyVisible(((weight + weight.T) / 2).fill_diagonal_(0), model.bias.detach())
    y = torch_ebm.gibbs(lambda v: generic(v), x, n_steps=40, generator=seeded(50)).x
    energies = model(torch.cat([again, y]).detach()).detach()
    check_mean(energies[:64] - energies[64:], 0.0, what="energy after long chains")


def test_it_is_made_from_tensors_and_spins_are_converted():
    """Spins s of -1 and 1, E = -s J s / 2 - h.s, as docs/criteria.md converts them."""
    generator = seeded(3)
    coupling = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    coupling = (coupling + coupling.T).fill_diagonal_(0)
    field = torch.randn(4, dtype=torch.float64, generator=generator)
    machine = torch_ebm.BoltzmannMachine.from_tensors(
        4 * coupling, 2 * field - 2 * coupling.sum(1)
    )
    x = all_states(4)
    spins = 2 * x - 1
    difference = machine(x) + (spins @ coupling * spins).sum(1) / 2 + spins @ field
    torch.testing.assert_close(difference, difference[0].expand(16))
    with pytest.raises(ValueError, match=r"weight must have shape \(4, 4\)"):
        torch_ebm.BoltzmannMachine.from_tensors(coupling[:, :3], field)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("beta", [None, 0.6])
def test_a_random_scan_makes_the_chains_of_any_energy(dtype, clamped, beta):
    # Also over the steps at which the field is computed anew.
    machine = torch_ebm.BoltzmannMachine(9, dtype=dtype)
    torch.nn.init.normal_(machine.weight, generator=seeded(31))
    start = torch.zeros(40, 9, dtype=dtype)
    clamp = torch.arange(9) % 3 == 0 if clamped else None
    options = {"scan": "random", "n_steps": 100, "clamp": clamp, "beta": beta, "thin": 50}
    fused = torch_ebm.gibbs(machine, start, generator=seeded(32), **{**options, "thin": 0}).x
    other = torch_ebm.gibbs(lambda x: machine(x), start, generator=seeded(32), **options).x
    assert fused.ne(start).any() and (not clamped or fused[:, clamp].eq(0).all())
    assert (fused != other).sum() <= 2 * 9  # a chain or two, where a number falls between roundings
    scripted = torch_ebm.gibbs(
        torch.jit.script(machine), start, generator=seeded(32), **{**options, "thin": 0}
    ).x
    assert torch.equal(fused, scripted)


def test_a_random_scan_follows_the_exact_kernel():
    machine = torch_ebm.BoltzmannMachine(4, dtype=torch.float64)
    torch.nn.init.normal_(machine.weight, generator=seeded(33))
    states, n = all_states(4), 20_000
    kernel = torch.zeros(16, 16, dtype=torch.float64)
    energies = machine(states).detach()
    for s in range(16):
        for unit in range(4):
            flip = states[s].bool().logical_xor(torch.arange(4) == unit)
            flipped = state_numbers(flip.double().unsqueeze(0))[0]
            p = torch.sigmoid(energies[s] - energies[flipped]) / 4
            kernel[s, flipped] += p
            kernel[s, s] += 1 / 4 - p
    start = states.repeat_interleave(n, 0)
    x = torch_ebm.boltzmann_gibbs(
        start, machine.weight, machine.bias, n_steps=2, scan="random", generator=seeded(34)
    )
    check_rows(list(zip(state_numbers(x).view(16, n), kernel @ kernel, strict=True)))


def test_an_unknown_scan_is_refused():
    machine = torch_ebm.BoltzmannMachine(4)
    with pytest.raises(ValueError, match='boltzmann_gibbs: scan must be "systematic" or "random"'):
        torch_ebm.boltzmann_gibbs(torch.zeros(2, 4), machine.weight, machine.bias, scan="back")
