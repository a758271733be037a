"""Gibbs sampling by random scans and of blocks of sites, against exact kernels."""

import pytest
import torch

import torch_ebm
from discrete_kernels import dca, fully_visible, one_hot, random_scan, sweep
from energies import OwnGibbs, ising_energy
from known_values import all_states, case, exact_samples, seeded, state_numbers
from statistical_checks import check_law, check_rows

PAIRS = [[0, 3], [4, 1], [5, 2]]
OVERLAPPING = [[0, 1, 2], [4, 3, 2], [0, 4, 5]]


def check_kernel(x, kernel):
    check_rows(list(zip(state_numbers(x).view(64, -1), kernel, strict=True)))


# --- Random scans ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kernels_fvbm_n6_s60", "kernels_rbm_6x4_s62"])
def test_every_row_of_the_kernel_of_a_random_scan(name):
    rbm = name.startswith("kernels_rbm")
    energy = case(name).rbm() if rbm else fully_visible()
    start = all_states(6).repeat_interleave(4096, 0)
    x = torch_ebm.gibbs(energy, start, scan="random", generator=seeded(1)).x
    check_kernel(x, case(name).array("T_gibbs_random_scan"))


@pytest.mark.parametrize("n_steps", [2, 20])
@pytest.mark.parametrize("name", ["kernels_ising_3x3_f_b0.6_h0.1", "kernels_ising_3x3_p_b0.3_h0"])
def test_random_scans_move_from_zero_as_fast_as_they_should(name, n_steps):
    known = case(name)
    energy = ising_energy(known.array("J"), known.params["h"], known.params["beta"])
    start = torch.zeros(20_000, 9).double()
    x = torch_ebm.gibbs(energy, start, scan="random", n_steps=n_steps, generator=seeded(2)).x
    check_law(state_numbers(x), known.array(f"p_t{n_steps}_gibbs_random_scan"))


def test_a_random_scan_changes_at_most_one_site_and_each_chain_its_own():
    start = torch.zeros(2000, 6).double()
    x = torch_ebm.gibbs(lambda x: -50 * x.sum(1), start, scan="random", generator=seeded(3)).x
    assert x.sum(1).eq(1).all() and x.sum(0).gt(200).all()


# --- Blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scan, kernel", [("systematic", sweep), ("random", random_scan)])
@pytest.mark.parametrize("blocks", [PAIRS, OVERLAPPING], ids=["pairs", "overlapping"])
def test_every_row_of_the_kernel_of_blocks(blocks, scan, kernel):
    states, energy = all_states(6), fully_visible()
    x = torch_ebm.gibbs(
        energy,
        states.repeat_interleave(4096, 0),
        scan=scan,
        blocks=torch.tensor(blocks),
        generator=seeded(4),
    ).x
    expected = kernel(energy(states).detach(), states, blocks)
    check_kernel(x, expected)


def test_a_block_of_all_sites_draws_from_the_model_at_once():
    x = torch_ebm.gibbs(
        fully_visible(),
        torch.zeros(50_000, 6).double(),
        blocks=torch.tensor([[3, 1, 0, 2, 5, 4]]),
        generator=seeded(5),
    ).x
    check_law(state_numbers(x), case("kernels_fvbm_n6_s60").array("probs"))


def test_blocks_of_one_site_are_single_sites():
    start = torch.zeros(500, 6).double()
    alone, blocks = (
        torch_ebm.gibbs(fully_visible(), start, blocks=b, n_steps=3, generator=seeded(6)).x
        for b in (None, torch.arange(6, dtype=torch.int32)[:, None])
    )
    assert torch.equal(alone, blocks)


@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_blocks_at_a_temperature_of_every_chain(scan):
    beta = torch.tensor([0.0, 2.0]).repeat_interleave(40_000)
    logf = case("kernels_fvbm_n6_s60").array("logf")
    laws = [torch.softmax(b * logf, 0) for b in (0.0, 2.0)]
    start = torch.cat([exact_samples(law, 40_000, 6, seed=7) for law in laws])
    x = torch_ebm.gibbs(
        fully_visible(),
        start,
        beta=beta,
        scan=scan,
        blocks=torch.tensor(PAIRS),
        n_steps=2,
        generator=seeded(8),
    ).x
    for chains, law in zip(x.split(40_000), laws, strict=True):
        check_law(state_numbers(chains), law)


@pytest.mark.parametrize("scan, n_steps", [("systematic", 10), ("random", 40)])
@pytest.mark.parametrize("per_chain", [False, True])
def test_clamped_sites_of_blocks_stay_and_the_others_follow_the_conditional_law(
    scan, n_steps, per_chain
):
    clamp = torch.tensor([False, True, False, False, True, False])
    start = torch.tensor([0.0, 1, 0, 0, 0, 0]).double().expand(15_000, -1)
    x = torch_ebm.gibbs(
        fully_visible(),
        start,
        clamp=clamp.expand(15_000, -1) if per_chain else clamp,
        scan=scan,
        blocks=torch.tensor(OVERLAPPING),
        n_steps=n_steps,
        generator=seeded(9),
    ).x
    states = all_states(6)
    law = case("kernels_fvbm_n6_s60").array("probs") * ((states[:, 1] == 1) & (states[:, 4] == 0))
    check_law(state_numbers(x), law / law.sum())


def test_blocks_cross_what_single_sites_cannot():
    """Exactly one of three units is on: single sites are frozen, pairs are not."""

    def energy(x):
        return torch.where(x.sum(1) != 1, torch.inf, -x @ torch.tensor([0.0, 1.0, 2.0]).double())

    start = torch.tensor([[1.0, 0, 0]]).double().repeat(20_000, 1)
    assert torch.equal(torch_ebm.gibbs(energy, start, n_steps=5, generator=seeded(10)).x, start)
    pairs = torch.tensor([[0, 1], [1, 2]])
    x = torch_ebm.gibbs(energy, start, n_steps=30, blocks=pairs, generator=seeded(10)).x
    check_law(state_numbers(x), torch.softmax(-energy(all_states(3)), 0))


# --- Everything else ------------------------------------------------------------------------------


def test_energy_calls():
    calls = []

    def energy(x):
        calls.append(len(x))
        return x.flatten(1).sum(1)

    def count(x, **options):
        calls.clear()
        torch_ebm.gibbs(energy, x, **options)
        return len(calls) - 1  # one at the start

    binary, potts = torch.zeros(3, 6), one_hot(torch.zeros(3, 4).long(), 5)
    assert count(binary, n_steps=2) == 2 * 6
    assert count(binary, n_steps=2, scan="random") == 2
    assert count(binary, blocks=torch.tensor(PAIRS)) == 3 * 3
    assert count(potts, categorical=True) == 4 * 4
    # What is clamped in every chain costs nothing.
    assert count(binary, clamp=torch.tensor([True, True, False, True, False, True])) == 2


def test_chains_that_agree_elsewhere_draw_the_same():
    start = torch.zeros(400, 6).double()
    other = start.clone()
    other[:, 0] = 1
    one, two = (torch_ebm.gibbs(fully_visible(), s, generator=seeded(16)).x for s in (start, other))
    assert torch.equal(one, two) and one[:, 0].unique().numel() == 2


def test_an_energys_own_sampler_is_left_out_where_something_else_is_asked_for():
    energy, x = OwnGibbs(), torch.zeros(3, 2)
    torch_ebm.gibbs(energy, x)
    assert len(energy.calls) == 1
    for options in ({"scan": "random"}, {"blocks": torch.tensor([[0], [1]])}):
        torch_ebm.gibbs(energy, x, **options)
    torch_ebm.gibbs(energy, one_hot(torch.zeros(3).long(), 3, torch.float32), categorical=True)
    assert len(energy.calls) == 1


@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_steps_are_kept_and_the_last_one_completed_is_left_in_place(scan):
    energy, start = fully_visible(), torch.zeros(20, 6).double()
    options = {"scan": scan, "n_steps": 6}
    whole = torch_ebm.gibbs(energy, start, thin=1, generator=seeded(17), **options)
    assert torch.equal(whole.trajectory[-1], whole.x) and whole.acceptance_rate.eq(1).all()
    thinned = torch_ebm.gibbs(energy, start, thin=2, generator=seeded(17), **options)
    assert torch.equal(thinned.trajectory, whole.trajectory[1::2])
    in_place = start.clone()
    samples = torch_ebm.gibbs(energy, in_place, inplace=True, generator=seeded(17), **options)
    assert samples.x is in_place and torch.equal(in_place, whole.x) and not start.any()

    calls_a_step = 6 if scan == "systematic" else 1
    calls = []

    def failing(x):
        calls.append(x)
        if len(calls) > 1 + 3 * calls_a_step:
            raise KeyError("enough")
        return energy(x)

    in_place = start.clone()
    with pytest.raises(KeyError, match="enough"):
        torch_ebm.gibbs(failing, in_place, inplace=True, generator=seeded(17), **options)
    assert torch.equal(in_place, whole.trajectory[2])


@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_neither_threads_nor_other_chains_change_a_chain(scan):
    def run(n):
        start = one_hot(torch.zeros(n, 5).long(), 4)
        options = {"scan": scan, "categorical": True, "n_steps": 5, "generator": seeded(18)}
        blocks = torch.tensor([[0, 1], [2, 3], [4, 0]])
        return torch_ebm.gibbs(dca(), start, blocks=blocks, **options).x

    expected = run(300)
    torch.set_num_threads(3)
    assert torch.equal(run(300), expected) and torch.equal(run(5), expected[:5])


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"scan": "sideways"}, ValueError, "scan must be"),
        ({"blocks": torch.tensor([[0.0], [1.0]])}, TypeError, "blocks must have an integer dtype"),
        ({"blocks": torch.tensor([0, 1])}, ValueError, r"blocks must have shape \(B, k\)"),
        ({"blocks": torch.zeros(2, 0).long()}, ValueError, r"blocks must have shape \(B, k\)"),
        ({"blocks": torch.tensor([[0, 1], [2, 14]])}, ValueError, "sites 0 to 13, got 14"),
        ({"blocks": torch.tensor([[0, -1]])}, ValueError, "sites 0 to 13, got -1"),
        ({"blocks": torch.tensor([[0, 1], [3, 3]])}, ValueError, "got it twice in row 1"),
        ({"blocks": torch.tensor([[0, 1]])}, ValueError, "got none with site 2"),
        ({"blocks": torch.arange(14)[None]}, ValueError, r"at most 4096 joint states, got 2\^14"),
        ({"categorical": True}, ValueError, "one-hot along its last dimension, got a site with 0"),
    ],
)
def test_wrong_options_are_named_and_draw_no_key(options, error, message):
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(error, match="gibbs: .*" + message):
        torch_ebm.gibbs(lambda x: x.sum(1), torch.zeros(2, 14), generator=generator, **options)
    assert torch.equal(generator.get_state(), before)


def test_a_chain_none_of_whose_candidates_is_allowed_stays():
    start = all_states(4)
    for options in ({}, {"scan": "random"}, {"blocks": torch.tensor([[0, 1], [2, 3]])}):
        x = torch_ebm.gibbs(lambda x: x.sum(1) + torch.inf, start, n_steps=3, **options).x
        assert torch.equal(x, start)
