"""Tempered persistent chains: what is kept, which pairs swap, and that the law of every rung stays."""

import copy

import pytest
import torch

import torch_ebm
from known_values import all_states, case, exact_samples, state_numbers
from statistical_checks import check_law

BETAS = [1.0, 0.6, 0.3]


def stay(energy, x, *, beta, generator):
    return x


def flat(x):
    return 0 * x.sum(1)


def test_a_call_is_a_step_of_replica_exchange_over_the_kept_chains():
    rbm = case("kernels_rbm_6x4_s62").rbm()
    pcd = torch_ebm.TemperedPCD(7, (6,), BETAS, n_steps=3, seed=1).double()
    first, state = pcd.chains.clone(), pcd.generator_state.clone()
    negative = pcd(rbm)
    generator = torch.Generator()
    generator.set_state(state)
    expected = torch_ebm.replica_exchange(
        rbm, first, BETAS, torch_ebm.gibbs, n_steps=3, generator=generator
    )
    assert torch.equal(pcd.chains, expected.x) and torch.equal(negative, expected.x[0])
    torch.testing.assert_close(pcd.swap_rate, expected.swap_rate, equal_nan=True)
    assert torch.equal(pcd.start, first)
    kept = negative.clone()
    pcd(rbm)
    assert torch.equal(negative, kept) and not torch.equal(pcd.start, first)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_short_calls_swap_all_pairs_in_turn(n_steps):
    pcd = torch_ebm.TemperedPCD(1, (1,), [1.0, 0.8, 0.6, 0.4], stay, n_steps=n_steps, seed=1)
    pcd.chains.copy_(torch.arange(4)[:, None, None])
    seen = set()
    for _ in range(8):
        seen.add(int(pcd(flat)))
    assert pcd.parity == 8 * n_steps % 2
    if n_steps == 1:
        assert seen == {0, 1, 2, 3} and pcd.chains.flatten().tolist() == [0, 1, 2, 3]


def test_every_rung_keeps_its_law():
    rbm, n_chains = case("kernels_rbm_6x4_s62").rbm(), 40_000
    pcd = torch_ebm.TemperedPCD(n_chains, (6,), BETAS, seed=2).double()
    with torch.no_grad():
        laws = [torch.softmax(-rbm.tempered(all_states(6), torch.tensor(b)), 0) for b in BETAS]
    for rung, law in enumerate(laws):
        pcd.chains[rung] = exact_samples(law, n_chains, 6, seed=540 + rung)
    for _ in range(3):
        negative = pcd(rbm)
    check_law(state_numbers(negative), laws[0], "negative samples")
    check_law(state_numbers(pcd.chains[2]), laws[2], "the hottest rung")


def test_it_crosses_between_modes_where_pcd_stays():
    rbm = torch_ebm.RBM(8, 2)
    with torch.no_grad():
        rbm.weight.fill_(6.0)
        rbm.hidden_bias.fill_(-24.0)
        rbm.visible_bias.fill_(-6.0)
    shape = (8,)
    tempered = torch_ebm.TemperedPCD(50, shape, torch.linspace(1, 0, 11), seed=3)
    plain = torch_ebm.PCD(50, shape, seed=3)
    tempered.chains.zero_()
    plain.chains.zero_()
    for _ in range(150):
        hot, cold = tempered(rbm), plain(rbm)
    assert not cold.any() and 0.2 < hot.mean() < 0.8


@pytest.mark.parametrize("how", ["state_dict", "deepcopy"])
def test_a_restored_module_goes_on_bit_for_bit(how):
    rbm = case("kernels_rbm_6x4_s62").rbm(torch.float32)
    pcd = torch_ebm.TemperedPCD(5, (6,), BETAS, seed=1)
    for _ in range(3):
        pcd(rbm)
    restored = copy.deepcopy(pcd)
    if how == "state_dict":
        restored = torch_ebm.TemperedPCD(5, (6,), BETAS, seed=9)
        restored.load_state_dict(pcd.state_dict())
    for _ in range(3):
        assert torch.equal(pcd(rbm), restored(rbm))
    assert torch.equal(pcd.chains, restored.chains)


def test_if_the_sampler_raises_nothing_has_changed():
    def sampler(energy, x, *, beta, generator):
        torch.rand(3, generator=generator)
        x += 1
        raise KeyError("no")

    pcd = torch_ebm.TemperedPCD(5, (6,), BETAS, sampler, seed=1)
    before = copy.deepcopy(pcd.state_dict())
    with pytest.raises(KeyError):
        pcd(flat)
    assert all(torch.equal(before[name], value) for name, value in pcd.state_dict().items())


def test_a_bad_ladder_is_named():
    with pytest.raises(ValueError, match="betas must be strictly decreasing"):
        torch_ebm.TemperedPCD(5, (6,), [1.0, 1.0])(flat)
