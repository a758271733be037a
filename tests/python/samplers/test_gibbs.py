"""Gibbs sampling of any binary energy, against exact kernels."""

import pytest
import torch

import torch_ebm
from energies import FullyVisible, OwnGibbs, ising_energy
from known_values import (
    all_states,
    case,
    exact_samples,
    numbered_states,
    random_rbm,
    seeded,
    state_numbers,
)
from statistical_checks import check_law, check_mean, check_rows


def fully_visible():
    known = case("kernels_fvbm_n6_s60")
    return FullyVisible(known.array("W"), known.array("b"))


def generic(energy):
    """The energy without its own Gibbs sampler."""
    return lambda x: energy(x)


def ising(name):
    known = case(name)
    return ising_energy(known.array("J"), known.params["h"], known.params["beta"])


@pytest.mark.parametrize(
    "name, energy",
    [
        ("kernels_fvbm_n6_s60", fully_visible),
        ("kernels_rbm_6x4_s62", lambda: generic(case("kernels_rbm_6x4_s62").rbm())),
    ],
    ids=["fully visible", "rbm"],
)
def test_every_row_of_the_kernel_of_one_sweep(name, energy):
    n_draws = 4096
    start = all_states(6).repeat_interleave(n_draws, 0)
    x = torch_ebm.gibbs(energy(), start, generator=seeded(31)).x
    rows = zip(state_numbers(x).view(64, n_draws), case(name).array("T_gibbs_systematic_scan"))
    check_rows(list(rows))


@pytest.mark.parametrize("name", ["kernels_ising_3x3_f_b0.6_h0.1", "kernels_ising_3x3_p_b0.3_h0"])
def test_ising_energy_equals_the_stored_log_density(name):
    torch.testing.assert_close(
        -ising(name)(all_states(9)), case(name).array("logf"), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("n_sweeps", [1, 5, 20])
@pytest.mark.parametrize("name", ["kernels_ising_3x3_f_b0.6_h0.1", "kernels_ising_3x3_p_b0.3_h0"])
def test_sweeps_of_an_ising_model_move_from_zero_as_fast_as_they_should(name, n_sweeps):
    start = torch.zeros(20_000, 9).double()
    x = torch_ebm.gibbs(ising(name), start, n_steps=n_sweeps, generator=seeded(32)).x
    check_law(state_numbers(x), case(name).array(f"p_t{n_sweeps}_gibbs_systematic_scan"))


@pytest.mark.parametrize("n_sweeps", [1, 5])
def test_sweeps_of_a_larger_fully_visible_machine_move_as_fast_as_they_should(n_sweeps):
    known = case("kernels_fvbm_n8_s61")
    energy = FullyVisible(known.array("W"), known.array("b"))
    start = torch.zeros(50_000, 8).double()
    x = torch_ebm.gibbs(energy, start, n_steps=n_sweeps, generator=seeded(33)).x
    check_law(state_numbers(x), known.array(f"p_t{n_sweeps}_gibbs_systematic_scan"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sweeps_leave_the_exact_law_invariant(dtype):
    known = case("kernels_fvbm_n6_s60")
    start = exact_samples(known.array("probs"), 100_000, 6, seed=34, dtype=dtype)
    energy = fully_visible().to(dtype)
    x = torch_ebm.gibbs(energy, start, n_steps=5, generator=seeded(35)).x
    check_law(state_numbers(x), known.array("probs"))
    means = known.array("probs") @ all_states(6)
    check_mean(x, means, means * (1 - means), "mean of the units")


@pytest.mark.parametrize("per_chain", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_tempered_sweeps_have_the_tempered_law(beta, per_chain):
    known = case("kernels_fvbm_n6_s60")
    law = torch.softmax(beta * known.array("logf"), 0)
    given = torch.full((100_000,), beta) if per_chain else beta
    start = exact_samples(law, 100_000, 6, seed=36)
    x = torch_ebm.gibbs(fully_visible(), start, n_steps=2, beta=given, generator=seeded(37)).x
    check_law(state_numbers(x), law)


def test_clamped_units_stay_and_the_others_follow_the_conditional_law():
    known = case("kernels_fvbm_n6_s60")
    clamp = torch.tensor([False, True, False, False, True, False])
    start = torch.tensor([0.0, 1, 0, 0, 0, 0]).double().expand(50_000, -1)
    x = torch_ebm.gibbs(fully_visible(), start, n_steps=12, clamp=clamp, generator=seeded(38)).x
    states = all_states(6)
    law = known.array("probs") * ((states[:, 1] == 1) & (states[:, 4] == 0))
    check_law(state_numbers(x), law / law.sum())


def test_forbidden_states_are_never_entered():
    # Three units of which exactly one is on would freeze single-site updates; at most one does not.
    def energy(x):
        return torch.where(x.sum(1) > 1, torch.inf, -x @ torch.tensor([0.0, 1.0, 2.0]).double())

    x = torch_ebm.gibbs(energy, torch.zeros(50_000, 3).double(), n_steps=25, generator=seeded(39)).x
    law = torch.softmax(-energy(all_states(3)), 0)
    check_law(state_numbers(x), law)


def test_every_kind_of_energy_gives_the_same_chains():
    module, start = fully_visible(), numbered_states(torch.arange(64), 6)
    kinds = [module, torch.jit.script(module), lambda x: module(x), module.forward]
    first, *others = [torch_ebm.gibbs(e, start, n_steps=3, generator=seeded(40)).x for e in kinds]
    for other in others:
        assert torch.equal(first, other)


def test_an_energy_with_its_own_gibbs_method_is_sampled_by_it():
    energy, generator, clamp = OwnGibbs(), seeded(41), torch.tensor([True, False])
    x = torch_ebm.gibbs(
        energy, torch.zeros(3, 2), n_steps=7, beta=0.25, clamp=clamp, generator=generator
    ).x
    assert torch.equal(x, torch.tensor([0.0, 1.0]).expand(3, 2))
    ((n_steps, beta, given_clamp, given_generator),) = energy.calls
    assert (n_steps, beta.item()) == (7, 0.25)
    assert torch.equal(given_clamp, clamp) and given_generator is not None


def test_an_rbm_makes_block_steps_whether_scripted_or_not():
    rbm, start = random_rbm(6, 4, 1.0, seed=42), all_states(6)
    options = {"n_steps": 4, "beta": 0.7}
    expected, _ = torch_ebm.rbm_gibbs(
        start, rbm.weight, rbm.visible_bias, rbm.hidden_bias, generator=seeded(43), **options
    )
    for energy in (rbm, torch.jit.script(rbm)):
        x = torch_ebm.gibbs(energy, start, generator=seeded(43), **options).x
        assert torch.equal(x, expected)


def test_chains_of_any_shape_are_served():
    module = fully_visible()
    flat = torch_ebm.gibbs(module, torch.zeros(50, 6).double(), generator=seeded(44)).x
    clamp = torch.zeros(2, 3, dtype=torch.bool)
    square = torch_ebm.gibbs(
        module, torch.zeros(50, 2, 3).double(), clamp=clamp, generator=seeded(44)
    ).x
    assert square.shape == (50, 2, 3) and torch.equal(square.flatten(1), flat)


def test_a_constant_added_to_the_energy_changes_no_sample():
    energy = fully_visible()
    start = torch.zeros(500, 6).double()
    # A power of two keeps the sums exact enough that no comparison can come out differently.
    shifted = torch_ebm.gibbs(lambda x: energy(x) + 4, start, n_steps=5, generator=seeded(45)).x
    assert torch.equal(torch_ebm.gibbs(energy, start, n_steps=5, generator=seeded(45)).x, shifted)


def test_the_start_is_left_alone():
    start = torch.zeros(50, 6).double()
    torch_ebm.gibbs(fully_visible(), start, n_steps=2).x
    assert not start.any()


def test_the_same_seed_gives_the_same_chains_and_another_seed_others():
    start = torch.zeros(500, 6).double()
    one, two, other = (
        torch_ebm.gibbs(fully_visible(), start, n_steps=2, generator=seeded(s)).x for s in (1, 1, 2)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_without_a_generator_the_default_one_is_used():
    start = torch.zeros(500, 6).double()
    torch.manual_seed(5)
    one, other = (torch_ebm.gibbs(fully_visible(), start).x for _ in range(2))
    torch.manual_seed(5)
    assert torch.equal(one, torch_ebm.gibbs(fully_visible(), start).x)
    assert not torch.equal(one, other)


def test_an_energy_may_reuse_its_memory_or_return_a_view_of_x():
    # One step: more of them would hide a first site that is wrong.
    weight = torch.tensor([1.0, -3.0, 2.0], dtype=torch.float64)
    buffer = torch.empty(500, dtype=torch.float64)
    start = torch.zeros(500, 3, dtype=torch.float64)

    def reusing(x):
        return torch.mv(x, weight, out=buffer)

    for careless, careful in [
        (reusing, lambda x: x @ weight),
        (lambda x: x[:, 0], lambda x: x[:, 0] + 0),
    ]:
        expected = torch_ebm.gibbs(careful, start, generator=seeded(3)).x
        assert torch.equal(torch_ebm.gibbs(careless, start, generator=seeded(3)).x, expected)


def test_an_energy_that_changes_x_is_refused_in_inference_mode_too():
    def changes_x(x):
        x.fill_(1)
        return x.sum(1)

    with torch.inference_mode(), pytest.raises(ValueError, match="must not change x in place"):
        torch_ebm.gibbs(changes_x, torch.zeros(3, 3)).x


class OwnSteps:
    """An energy whose own Gibbs sampler does what it is told to."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, x):
        return x.sum(1)

    def gibbs(self, x, n_steps, beta, clamp, generator):
        return self.steps(x)


def test_what_an_energys_own_sampler_returns_is_checked():
    start = torch.zeros(4, 3)
    assert torch_ebm.gibbs(OwnSteps(lambda x: x.fill_(1)), start).x.eq(1).all()
    assert start.eq(0).all()
    with pytest.raises(ValueError, match="energy's gibbs returns must hold zeros and ones"):
        torch_ebm.gibbs(OwnSteps(lambda x: x + 7), start).x
    with pytest.raises(ValueError, match="must keep the units that clamp keeps"):
        torch_ebm.gibbs(
            OwnSteps(lambda x: x + 1), start, clamp=torch.tensor([True, False, False])
        ).x


class Sampling(torch.nn.Module):
    """A model that samples a submodule by an operator."""

    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def forward(self, x):
        return torch.ops.torch_ebm.gibbs(self.energy, x)[0]


def test_a_frozen_model_needs_its_energy_preserved():
    scripted = torch.jit.script(Sampling(torch_ebm.RBM(4, 3)).eval())
    frozen = torch.jit.freeze(scripted, preserved_attrs=["energy"])
    assert frozen(torch.zeros(5, 4)).shape == (5, 4)
    with pytest.raises(RuntimeError, match="preserved_attrs"):
        torch.jit.freeze(scripted)(torch.zeros(5, 4))


@pytest.mark.parametrize("sampler", [torch_ebm.gibbs, torch_ebm.langevin])
def test_a_refused_call_draws_no_key(sampler):
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError):
        sampler(lambda x: x.sum(1) * float("nan"), torch.zeros(2, 2), generator=generator)
    assert torch.equal(generator.get_state(), before)


class Flips(torch.nn.Module):
    """The energy of another, with its flip differences, and counts of calls."""

    def __init__(self, energy):
        super().__init__()
        self.energy, self.n_energies, self.n_flips = energy, 0, 0

    def forward(self, x):
        self.n_energies += 1
        return self.energy(x)

    def flip_differences(self, x, sites=None):
        self.n_flips += 1
        assert sites is None or sites.shape == (len(x), 1)
        return self.energy.flip_differences(x, sites)


@pytest.mark.parametrize("scan", ["systematic", "random"])
@pytest.mark.parametrize("beta", [None, 0.5])
@pytest.mark.parametrize("clamped", [False, True])
def test_flip_differences_take_the_place_of_energies(scan, beta, clamped):
    machine = torch_ebm.BoltzmannMachine(6, dtype=torch.float64)
    torch.nn.init.normal_(machine.weight, generator=seeded(21))
    energy, start = Flips(machine), torch.zeros(50, 6, dtype=torch.float64)
    clamp = torch.tensor([True, False] * 3) if clamped else None
    options = {"scan": scan, "n_steps": 8, "clamp": clamp, "beta": beta}
    x = torch_ebm.gibbs(energy, start, generator=seeded(22), **options).x
    updates = 8 * (1 if scan == "random" else 3 if clamped else 6)
    assert energy.n_energies == 1 and energy.n_flips == updates + 1  # the first asks whether
    torch.testing.assert_close(
        x, torch_ebm.gibbs(generic(machine), start, generator=seeded(22), **options).x
    )


def test_flip_differences_are_not_used_where_they_are_those_of_another_energy():
    # At a temperature of its own path, and from a forbidden start.
    energy, start = Flips(random_rbm(5, 3, 1.0, 23)), torch.zeros(20, 5, dtype=torch.float64)
    energy.tempered = energy.energy.tempered
    torch_ebm.gibbs(energy, start, beta=0.5)
    assert energy.n_flips == 0
    forbidding = Flips(torch_ebm.BoltzmannMachine(5, dtype=torch.float64))
    forbidding.forward = lambda x: x[:, 0] * 1.0 + torch.where(x.sum(1) == 0, torch.inf, 0.0)
    x = torch_ebm.gibbs(forbidding, start, generator=seeded(24)).x
    assert forbidding.n_flips == 0 and x.sum(1).gt(0).all()


def test_an_energy_may_keep_every_state_it_was_given():
    kept, machine = [], fully_visible()

    def keeps(x):
        kept.append(x)
        return machine(x)

    start = torch.zeros(4, 6, dtype=torch.float64)
    x = torch_ebm.gibbs(keeps, start, n_steps=2, generator=seeded(25)).x
    assert torch.equal(x, torch_ebm.gibbs(generic(machine), start, n_steps=2, generator=seeded(25)).x)
    flipped = [(a != b).sum(1) for a, b in zip(kept, kept[1:])]
    assert len(kept) == 13 and all(n.le(2).all() for n in flipped) and sum(n.sum() for n in flipped)
