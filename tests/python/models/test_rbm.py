"""The RBM: energies against enumeration, block Gibbs against its exact kernel."""

import copy
import functools
import math

import pytest
import torch

import torch_ebm
from known_values import (
    all_states,
    case,
    embedded,
    exact_samples,
    make_rbm,
    numbered_states,
    random_rbm,
    seeded,
    state_numbers,
)
from statistical_checks import check_law, check_mean, check_rows, check_uncorrelated_columns

KERNELS = "kernels_rbm_6x4_s62"
N_VISIBLE, N_HIDDEN = 6, 4
BLOCK_STEPS = (1, 5, 20)


def parameters(rbm):
    return rbm.weight, rbm.visible_bias, rbm.hidden_bias


def repeated(number, n_chains, n_units=N_VISIBLE):
    return numbered_states(torch.full((n_chains,), number), n_units)


@functools.cache
def joint_law(beta=1.0):
    """p(v, h) ~ exp(-beta E) of the kernels' RBM; v is the low part of the state's number."""
    rbm = case(KERNELS).rbm()
    both = all_states(N_VISIBLE + N_HIDDEN)
    energy = rbm.energy(both[:, :N_VISIBLE], both[:, N_VISIBLE:]).detach()
    return torch.softmax(-beta * energy, 0)


def visible_law(beta=1.0):
    return joint_law(beta).view(2**N_HIDDEN, 2**N_VISIBLE).sum(0)


# --- Energies -------------------------------------------------------------------------------------


def test_free_energy_equals_the_stored_log_density():
    known = case(KERNELS)
    torch.testing.assert_close(
        -known.rbm()(all_states(N_VISIBLE)), known.array("logf"), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    "name",
    [
        "rbm_4x3_s10",
        "rbm_6x4_s11",
        "rbm_12x8_s12",
        "rbm_16x12_s13",
        "rbm_20x10_s14",
        "rbm_100x14_s15",
        "rbm_784x16_s16",
    ],
)
def test_free_energy_of_data_and_its_gradients_equal_the_stored(name):
    known = case(name)
    rbm = known.rbm()
    mean = rbm(known.array("data")).mean()
    assert mean.item() == pytest.approx(known["data_free_energy"], rel=1e-12)
    mean.backward()
    if name.startswith(("rbm_100", "rbm_784")):
        return
    for parameter, letter in zip(parameters(rbm), "Wbc"):
        expected = known.array(f"grad_free_energy_{letter}")
        torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-12)


def test_free_energy_sums_out_the_hidden_units():
    rbm = random_rbm(5, 4, 2.0, seed=1)
    visible, hidden = all_states(5), all_states(4)
    joint = torch.stack([rbm.energy(v.expand(16, -1), hidden) for v in visible])
    torch.testing.assert_close(rbm(visible), -torch.logsumexp(-joint, 1), rtol=0, atol=1e-12)


def test_free_energy_is_accurate_where_softplus_is_nearly_linear():
    # torch's own softplus is linear from 20 on, which loses log1p(exp(-a)) = 2e-9.
    rbm = make_rbm(torch.zeros(1, 1), torch.zeros(1), torch.tensor([21.0]))
    assert -rbm(torch.zeros(1, 1).double()).item() == 21.0 + math.log1p(math.exp(-21.0))


def test_conditionals_are_those_of_the_joint_law():
    rbm = case(KERNELS).rbm()
    p = joint_law().view(2**N_HIDDEN, 2**N_VISIBLE)
    hidden_mean = (all_states(N_HIDDEN).T @ p / p.sum(0)).T
    visible_mean = p @ all_states(N_VISIBLE) / p.sum(1, keepdim=True)
    torch.testing.assert_close(rbm.hidden_given_visible(all_states(N_VISIBLE)), hidden_mean)
    torch.testing.assert_close(rbm.visible_given_hidden(all_states(N_HIDDEN)), visible_mean)


def test_initial_parameters_follow_hinton():
    rbm = torch_ebm.RBM(100, 50)
    check_mean(rbm.weight.detach().flatten(), 0.0, 1e-4, "mean of the initial weights")
    assert rbm.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not rbm.visible_bias.any() and not rbm.hidden_bias.any()


def test_base_rate_bias_is_the_logit_of_the_smoothed_mean():
    data = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([math.log(3 / 2), math.log(1 / 4)])
    torch.testing.assert_close(torch_ebm.base_rate_bias(data), expected)
    assert torch_ebm.base_rate_bias(data, 0.5)[1].item() == pytest.approx(math.log(0.5 / 3.5))


def test_state_dict_round_trip():
    rbm, other = random_rbm(5, 3, 1.0, seed=2), torch_ebm.RBM(5, 3, dtype=torch.float64)
    assert list(rbm.state_dict()) == ["weight", "visible_bias", "hidden_bias"]
    other.load_state_dict(rbm.state_dict())
    assert torch.equal(rbm(all_states(5)), other(all_states(5)))


def test_module_moves_to_another_dtype():
    rbm = torch_ebm.RBM(5, 3).to(torch.float64)
    assert rbm(all_states(5)).dtype == torch.float64
    assert rbm.gibbs(all_states(5)).dtype == torch.float64
    half = torch_ebm.RBM(5, 3).to(torch.bfloat16)
    states = half.gibbs(all_states(5, torch.bfloat16))
    assert states.dtype == torch.bfloat16 and ((states == 0) | (states == 1)).all()


# --- Block Gibbs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_row_of_the_block_gibbs_kernel(dtype):
    known, n_draws = case(KERNELS), 4096
    start = all_states(N_VISIBLE, dtype).repeat_interleave(n_draws, 0)
    visible, _ = torch_ebm.rbm_gibbs(start, *parameters(known.rbm(dtype)), generator=seeded(11))
    numbers = state_numbers(visible).view(64, n_draws)
    check_rows(list(zip(numbers, known.array("T_block_gibbs"))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_block_gibbs_leaves_the_exact_law_invariant(dtype):
    known, n_chains = case(KERNELS), 200_000
    start = exact_samples(known.array("probs"), n_chains, N_VISIBLE, seed=12, dtype=dtype)
    visible, hidden = torch_ebm.rbm_gibbs(
        start, *parameters(known.rbm(dtype)), n_steps=5, generator=seeded(13)
    )
    check_law(state_numbers(visible), known.array("probs"))
    means = known.array("probs") @ all_states(N_VISIBLE)
    check_mean(visible, means, means * (1 - means), "mean of the visible units")
    log_density = known.array("logf")
    mean = known.array("probs") @ log_density
    variance = known.array("probs") @ (log_density - mean) ** 2
    check_mean(log_density[state_numbers(visible)], mean, variance, "mean of log f")
    hidden_mean = joint_law() @ all_states(N_VISIBLE + N_HIDDEN)[:, N_VISIBLE:]
    check_mean(hidden, hidden_mean, hidden_mean * (1 - hidden_mean), "mean of the hidden units")


@pytest.mark.parametrize("n_steps", BLOCK_STEPS)
def test_block_gibbs_moves_from_zero_as_fast_as_it_should(n_steps):
    known = case(KERNELS)
    visible, _ = torch_ebm.rbm_gibbs(
        repeated(0, 50_000), *parameters(known.rbm()), n_steps=n_steps, generator=seeded(14)
    )
    check_law(state_numbers(visible), known.array(f"p_t{n_steps}_block_gibbs"))


@pytest.mark.parametrize("n_steps", BLOCK_STEPS)
def test_block_gibbs_of_a_wider_rbm_moves_as_fast_as_it_should(n_steps):
    known = case("kernels_rbm_8x5_s63")
    visible, _ = torch_ebm.rbm_gibbs(
        repeated(0, 50_000, 8), *parameters(known.rbm()), n_steps=n_steps, generator=seeded(15)
    )
    check_law(state_numbers(visible), known.array(f"p_t{n_steps}_block_gibbs"))


def test_block_gibbs_steps_are_independent_draws():
    # Two steps of one call and two calls of one step follow the same law; the same numbers in
    # every step would not (they differ between steps by the counter alone).
    known = case(KERNELS)
    visible = repeated(0, 50_000)
    generator = seeded(16)
    for _ in range(5):
        visible, _ = torch_ebm.rbm_gibbs(visible, *parameters(known.rbm()), generator=generator)
    check_law(state_numbers(visible), known.array("p_t5_block_gibbs"))


def test_returned_visible_and_hidden_states_are_of_the_last_step():
    # h comes before v: from v0, p(h, v) = p(h | v0) p(v | h).
    rbm, start = case(KERNELS).rbm(), 5
    visible, hidden = torch_ebm.rbm_gibbs(
        repeated(start, 100_000), *parameters(rbm), generator=seeded(17)
    )
    p = joint_law().view(2**N_HIDDEN, 2**N_VISIBLE)
    law = (p[:, start] / p[:, start].sum())[:, None] * p / p.sum(1, keepdim=True)
    check_law(state_numbers(torch.cat([visible, hidden], 1)), law.flatten())


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.7])
def test_block_gibbs_at_another_temperature_has_the_tempered_joint_law(beta):
    start = exact_samples(visible_law(beta), 100_000, N_VISIBLE, seed=18)
    visible, hidden = torch_ebm.rbm_gibbs(
        start, *parameters(case(KERNELS).rbm()), n_steps=3, beta=beta, generator=seeded(19)
    )
    check_law(state_numbers(visible), visible_law(beta))
    # One more pass of the hidden units would make the pair exact; its own marginal already is.
    p = joint_law(beta).view(2**N_HIDDEN, 2**N_VISIBLE).sum(1)
    check_law(state_numbers(hidden), p)


def test_every_chain_has_its_own_temperature():
    betas = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    n_chains = 50_000
    visible, _ = torch_ebm.rbm_gibbs(
        torch.cat([exact_samples(visible_law(b.item()), n_chains, 6, seed=20) for b in betas]),
        *parameters(case(KERNELS).rbm()),
        n_steps=2,
        beta=betas.repeat_interleave(n_chains),
        generator=seeded(21),
    )
    laws = [visible_law(b.item()) for b in betas]
    check_rows(list(zip(state_numbers(visible).view(4, n_chains), laws)))


@pytest.mark.parametrize("per_chain", [False, True])
def test_clamped_units_stay_and_the_others_follow_the_conditional_law(per_chain):
    clamp = torch.tensor([True, False, False, True, False, False])
    start = torch.tensor([1.0, 0, 0, 0, 0, 0]).double().expand(60_000, -1)
    visible, _ = torch_ebm.rbm_gibbs(
        start,
        *parameters(case(KERNELS).rbm()),
        n_steps=60,
        clamp=clamp.expand(60_000, -1) if per_chain else clamp,
        generator=seeded(22),
    )
    assert (visible[:, 0] == 1).all() and (visible[:, 3] == 0).all()
    states = all_states(N_VISIBLE)
    allowed = (states[:, 0] == 1) & (states[:, 3] == 0)
    law = visible_law() * allowed
    check_law(state_numbers(visible), law / law.sum())


def test_different_rows_may_clamp_different_units():
    start = torch.bernoulli(torch.full((1000, N_VISIBLE), 0.5)).double()
    clamp = torch.rand(1000, N_VISIBLE) < 0.5
    visible, _ = torch_ebm.rbm_gibbs(start, *parameters(case(KERNELS).rbm()), clamp=clamp)
    assert torch.equal(visible[clamp], start[clamp])
    assert (visible[~clamp] != start[~clamp]).any()


def test_a_wide_rbm_has_independent_units_when_its_weights_are_zero():
    # 150 units: more than one tile of random words. A word used twice makes two units equal.
    bias = torch.linspace(-2, 2, 150)
    visible, hidden = torch_ebm.rbm_gibbs(
        torch.zeros(40_000, 150), torch.zeros(150, 70), bias, bias[:70], generator=seeded(23)
    )
    p = torch.sigmoid(torch.cat([bias, bias[:70]]).double())
    units = torch.cat([visible, hidden], 1)
    check_mean(units, p, p * (1 - p), "mean of the units")
    check_uncorrelated_columns(units)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_rbm_makes_the_chains_of_the_small_one_inside_it(dtype):
    # Small weights stay in a processor's cache; large ones go through matrix products. Both paths
    # draw the same numbers; in single precision, sums differ by roundings, and units do so rarely.
    n_chains = 2000
    small = case(KERNELS).rbm(dtype)
    large = embedded(small, 700, 400)
    start = torch.bernoulli(torch.full((n_chains, 700), 0.5)).to(dtype)
    clamp = torch.rand(n_chains, 700) < 0.2
    options = {"n_steps": 5, "beta": torch.rand(n_chains) * 2}
    one = torch_ebm.rbm_gibbs(
        start[:, :N_VISIBLE],
        *parameters(small),
        clamp=clamp[:, :N_VISIBLE],
        generator=seeded(26),
        **options,
    )
    other = torch_ebm.rbm_gibbs(
        start, *parameters(large), clamp=clamp, generator=seeded(26), **options
    )
    for states, more in zip(one, other):
        same = (states == more[:, : states.shape[1]]).all(1).double().mean().item()
        assert same == 1 if dtype == torch.float64 else same > 0.999


def test_saturated_units_never_err():
    visible, _ = torch_ebm.rbm_gibbs(
        torch.zeros(100_000, 2), torch.zeros(2, 1), torch.tensor([200.0, -200.0]), torch.zeros(1)
    )
    assert (visible[:, 0] == 1).all() and (visible[:, 1] == 0).all()


def test_a_constant_added_to_the_energy_changes_no_sample():
    # A hidden unit without weights adds the constant -softplus(c) to the free energy.
    rbm = random_rbm(8, 5, 1.0, seed=24)
    wider = make_rbm(
        torch.cat([rbm.weight.detach(), torch.zeros(8, 1)], 1),
        rbm.visible_bias.detach(),
        torch.cat([rbm.hidden_bias.detach(), torch.tensor([3.0])]),
    )
    start = torch.zeros(500, 8).double()
    same = [torch_ebm.gibbs(r, start, n_steps=9, generator=seeded(25)).x for r in (rbm, wider)]
    assert torch.equal(*same)
    shift = math.log1p(math.exp(3.0))
    assert wider.log_z().item() - rbm.log_z().item() == pytest.approx(shift, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_base_rates_of_many_examples_in_half_precision(dtype):
    data = torch.ones(70001, 1)
    data[:700] = 0
    expected = torch_ebm.base_rate_bias(data).to(dtype)
    assert torch.equal(torch_ebm.base_rate_bias(data.to(dtype)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_makes_the_chains_of_float(dtype):
    rbm = random_rbm(12, 9, 0.5, seed=5, dtype=torch.float32).to(dtype)
    start = torch.zeros(200, 12)
    beta = torch.tensor(0.999)  # 1 in bfloat16
    expected = copy.deepcopy(rbm).float().gibbs(start, 5, beta, None, seeded(2))
    states = rbm.gibbs(start.to(dtype), 5, beta, None, seeded(2))
    assert states.dtype == dtype and torch.equal(states.float(), expected)


# --- Exact samples --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_visible, n_hidden", [(6, 4), (4, 6), (5, 5)])
def test_exact_samples_follow_the_enumerated_law(n_visible, n_hidden, dtype):
    rbm = random_rbm(n_visible, n_hidden, 1.5, seed=40, dtype=dtype)
    x = rbm.sample(20_000, seeded(41))
    assert x.dtype == dtype and x.shape == (20_000, n_visible)
    law = torch.softmax(-rbm.double()(all_states(n_visible)), 0).detach()
    check_law(state_numbers(x), law)


def test_exact_samples_are_independent():
    rbm = random_rbm(6, 4, 1.5, seed=40)
    law = torch.softmax(-rbm(all_states(6)), 0).detach()
    one, two = state_numbers(rbm.sample(40_000, seeded(42))).view(2, -1)
    check_law(one + 64 * two, torch.outer(law, law).flatten())


def test_exact_samples_of_enumerated_visible_units_change_with_the_key():
    rbm = random_rbm(4, 6, 1.5, seed=40)
    one, other, again = (rbm.sample(50, seeded(seed)) for seed in (48, 49, 48))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("n_visible, n_hidden", [(20, 22), (22, 20)])
def test_exact_samples_of_the_largest_layers(n_visible, n_hidden):
    rbm = random_rbm(n_visible, n_hidden, 0.5, seed=43)
    x = rbm.sample(5000, seeded(44))
    rbm.log_z().backward()
    mean = rbm.visible_bias.grad
    check_mean(x, mean, mean * (1 - mean), "mean of exact samples")


def test_exact_samples_of_half_precision_are_those_of_its_parameters():
    rbm = random_rbm(6, 4, 1.5, seed=40, dtype=torch.float32).to(torch.bfloat16)
    x = rbm.sample(50, seeded(45))
    assert x.dtype == torch.bfloat16
    assert torch.equal(x.float(), rbm.float().sample(50, seeded(45)))


def test_a_scripted_rbm_gives_exact_samples():
    rbm = random_rbm(6, 4, 1.5, seed=40)
    torch.manual_seed(46)
    expected = rbm.sample(50)
    torch.manual_seed(46)
    assert torch.equal(torch.jit.script(rbm).sample(50), expected)


def test_exact_samples_of_a_model_too_large_are_refused():
    generator = seeded(47)
    before = generator.get_state()
    with pytest.raises(ValueError, match="smaller layer must have between 1 and 20 units, got 21"):
        torch_ebm.RBM(30, 21).sample(5, generator)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        torch_ebm.RBM(3, 2).sample(0, generator)
    assert torch.equal(generator.get_state(), before)


def test_it_is_made_from_tensors():
    weight, visible_bias, hidden_bias = torch.randn(4, 3).double(), torch.randn(4), torch.randn(3)
    visible_bias, hidden_bias = visible_bias.double(), hidden_bias.double()
    rbm = torch_ebm.RBM.from_tensors(weight, visible_bias, hidden_bias)
    v = all_states(4)
    expected = torch_ebm.RBM(4, 3, dtype=torch.float64)
    expected.load_state_dict(
        {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
    )
    assert torch.equal(rbm(v), expected(v)) and rbm.weight.requires_grad
    with torch.no_grad():
        rbm.weight.zero_()
    assert weight.abs().sum() > 0  # a copy
    with pytest.raises(ValueError, match=r"RBM.from_tensors: hidden_bias must have shape \(3,\)"):
        torch_ebm.RBM.from_tensors(weight, visible_bias, visible_bias)
    with pytest.raises(TypeError, match="visible_bias must have dtype torch.float64"):
        torch_ebm.RBM.from_tensors(weight, visible_bias.float(), hidden_bias)
    with pytest.raises(TypeError, match="weight must be a floating tensor"):
        torch_ebm.RBM.from_tensors([[1.0]], visible_bias, hidden_bias)


def composite_free_energy(visible, weight, visible_bias, hidden_bias):
    hidden = torch.nn.functional.softplus(visible @ weight + hidden_bias, threshold=40)
    return -(visible @ visible_bias + hidden.sum(1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 7), (20, 33, 4), (0, 3, 2)])
def test_closed_form_gradients_of_the_free_energy_are_those_of_autograd(shape):
    n, n_visible, n_hidden = shape
    rbm = random_rbm(n_visible, n_hidden, 1.0, 41)
    visible = torch.rand(n, n_visible, dtype=torch.float64, generator=seeded(42), requires_grad=True)
    inputs = [visible, *(p.detach().requires_grad_() for p in rbm.parameters())]
    weights = torch.randn(n, dtype=torch.float64, generator=seeded(43))

    def derivatives(function):
        first = torch.autograd.grad((weights * function(*inputs)).sum(), inputs, create_graph=True)
        again = sum((g * torch.sin(torch.arange(g.numel()).view_as(g))).sum() for g in first)
        return [*first, *torch.autograd.grad(again, inputs, allow_unused=True)]

    fused, plain = (derivatives(f) for f in (torch.ops.torch_ebm.rbm_free_energy, composite_free_energy))
    for one, other in zip(fused, plain, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    name = torch.ops.torch_ebm.rbm_free_energy(*inputs).grad_fn.name()
    assert "FreeEnergyFunction" in name  # else the test compares the same thing twice


def test_transforms_of_the_free_energy_see_its_operations():
    rbm = random_rbm(5, 3, 1.0, 44)
    visible = torch.rand(4, 5, dtype=torch.float64, generator=seeded(45))
    parameters = {name: p.detach() for name, p in rbm.named_parameters()}

    def loss(parameters, visible):
        return torch.func.functional_call(rbm, parameters, (visible,)).sum()

    expected = torch.autograd.grad(rbm(visible).sum(), list(rbm.parameters()))
    for got, want in zip(torch.func.grad(loss)(parameters, visible).values(), expected, strict=True):
        torch.testing.assert_close(got, want)
    leaf = visible.clone().requires_grad_()
    (slope,) = torch.autograd.grad(rbm(leaf).sum(), leaf)
    _, tangent = torch.func.jvp(rbm, (visible,), (torch.ones_like(visible),))
    torch.testing.assert_close(tangent, slope.sum(1))
    each = torch.func.vmap(lambda v: rbm(v.unsqueeze(0)).squeeze(0))(visible)
    torch.testing.assert_close(each, rbm(visible))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rbm.float()(visible.float()).isfinite().all()
