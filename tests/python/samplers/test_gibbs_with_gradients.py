"""Gibbs with gradients, against exact kernels."""

from typing import Optional

import pytest
import torch

import torch_ebm
from discrete_kernels import (
    all_labels,
    curved_potts,
    dca,
    fully_visible,
    gwg_proposal,
    metropolis_hastings,
    numbers_of_one_hot,
    one_hot,
    scores,
    small_potts,
)
from energies import CategoricalCliff, Cliff, ising_energy
from known_values import all_states, case, exact_samples, seeded, state_numbers
from statistical_checks import check_law, check_mean, check_rows

gwg = torch_ebm.gibbs_with_gradients


# --- Binary states --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kernels_fvbm_n6_s60", "kernels_rbm_6x4_s62"])
def test_every_row_of_the_kernel(name):
    energy = case(name).rbm() if name.startswith("kernels_rbm") else fully_visible()
    kernel = case(name).array("T_gibbs_with_gradients")
    samples = gwg(energy, all_states(6).repeat_interleave(4096, 0), generator=seeded(1))
    rows = zip(state_numbers(samples.x).view(64, 4096), kernel, strict=True)
    check_rows(list(rows))
    # A proposal always changes the state, so that a chain stays where it is refused.
    moved = (1 - kernel.diagonal()).mean()
    check_mean(samples.acceptance_rate.view(64, 4096).mean(0), moved, what="acceptance rate")


@pytest.mark.parametrize("n_steps", [2, 20])
@pytest.mark.parametrize("name", ["kernels_ising_3x3_f_b0.6_h0.1", "kernels_ising_3x3_p_b0.3_h0"])
def test_an_ising_model_moves_from_zero_as_fast_as_it_should(name, n_steps):
    known = case(name)
    energy = ising_energy(known.array("J"), known.params["h"], known.params["beta"])
    x = gwg(energy, torch.zeros(30_000, 9).double(), n_steps=n_steps, generator=seeded(2)).x
    check_law(state_numbers(x), known.array(f"p_t{n_steps}_gibbs_with_gradients"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exact_law_is_left_invariant(dtype):
    law = case("kernels_fvbm_n6_s60").array("probs")
    start = exact_samples(law, 100_000, 6, seed=3, dtype=dtype)
    x = gwg(fully_visible().to(dtype), start, n_steps=6, generator=seeded(4)).x
    assert x.dtype == dtype and not torch.equal(x, start)
    check_law(state_numbers(x), law)


def test_the_temperature_of_every_chain():
    beta = torch.tensor([0.0, 0.5, 2.0]).repeat_interleave(64 * 2048)
    start = all_states(6).repeat_interleave(2048, 0).repeat(3, 1)
    energy, states = fully_visible(), all_states(6)
    x = gwg(energy, start, beta=beta, generator=seeded(5)).x
    rows = []
    for numbers, b in zip(state_numbers(x).split(64 * 2048), (0.0, 0.5, 2.0), strict=True):
        proposal = gwg_proposal(states, scores(energy, states, b), states)
        kernel, _ = metropolis_hastings(proposal, b * energy(states).detach())
        rows += zip(numbers.view(64, 2048), kernel, strict=True)
    check_rows(rows)


# --- Categorical states ---------------------------------------------------------------------------


@pytest.mark.parametrize("energy", [small_potts(), curved_potts()], ids=["quadratic", "curved"])
def test_every_row_of_the_kernel_of_categorical_sites(energy):
    labels = all_labels(2, 3)
    states = one_hot(labels, 3)
    proposal = gwg_proposal(states.flatten(1), scores(energy, states).flatten(1), labels)
    kernel, accepted = metropolis_hastings(proposal, energy(states).detach())
    start = states.repeat_interleave(20_000, 0)
    samples = gwg(energy, start, categorical=True, generator=seeded(6))
    check_rows(list(zip(numbers_of_one_hot(samples.x).view(9, -1), kernel, strict=True)))
    check_mean(samples.acceptance_rate.view(9, -1).mean(0), accepted.mean(), what="acceptance rate")


def test_a_potts_model_is_left_invariant_and_reached_from_one_state():
    energy, states = dca(), one_hot(all_labels(5, 4), 4)
    law = torch.softmax(-energy(states).detach(), 0)
    drawn = torch.multinomial(law, 40_000, replacement=True, generator=seeded(7))
    for start, n_steps in [(states[drawn], 5), (states[:1].expand(10_000, -1, -1), 100)]:
        x = gwg(energy, start, categorical=True, n_steps=n_steps, generator=seeded(8)).x
        check_law(numbers_of_one_hot(x), law)


def test_two_categories_are_a_binary_site():
    binary, start = fully_visible(), torch.zeros(300, 6).double()
    expected = gwg(binary, start, n_steps=9, generator=seeded(9))
    samples = gwg(
        lambda x: binary(x[..., 1]),
        torch.stack([1 - start, start], -1),
        categorical=True,
        n_steps=9,
        generator=seeded(9),
    )
    assert torch.equal(samples.x[..., 1], expected.x)
    torch.testing.assert_close(samples.acceptance_rate, expected.acceptance_rate)


# --- Everything else ------------------------------------------------------------------------------


class Steps:
    """An energy whose own sampler records its calls and flips the first unit."""

    def __init__(self, states=None, rate=None):
        self.calls, self.states, self.rate = [], states, rate

    def __call__(self, x):
        return x.sum(1)

    def gibbs_with_gradients(self, x, n_steps, beta, generator):
        self.calls.append((n_steps, beta, generator))
        x[:, 0] = 1 - x[:, 0]
        return (
            x if self.states is None else self.states,
            torch.full((len(x),), 0.25) if self.rate is None else self.rate,
        )


def test_an_energy_with_its_own_method_is_sampled_by_it():
    energy, generator, start = Steps(), seeded(10), torch.zeros(3, 2)
    samples = gwg(energy, start, n_steps=7, beta=0.5, generator=generator)
    ((n_steps, beta, given_generator),) = energy.calls
    assert (n_steps, beta.item()) == (7, 0.5) and given_generator is not None
    assert torch.equal(samples.x, torch.tensor([[1.0, 0]] * 3)) and not start.any()
    assert samples.acceptance_rate.tolist() == [0.25] * 3
    assert samples.acceptance_rate.dtype == torch.float64


def test_an_own_method_makes_one_step_a_call_where_states_on_the_way_are_kept():
    energy, start = Steps(), torch.zeros(3, 2)
    samples = gwg(energy, start, n_steps=5, thin=2, inplace=True)
    assert [n_steps for n_steps, *_ in energy.calls] == [1] * 5
    assert samples.x is start and start[:, 0].tolist() == [1.0] * 3
    assert samples.trajectory[:, 0, 0].tolist() == [0.0, 0.0]
    assert samples.acceptance_rate.tolist() == [0.25] * 3


def test_an_own_method_is_left_out_for_categorical_states():
    energy = Steps()
    gwg(energy, one_hot(torch.zeros(3).long(), 3), categorical=True)
    assert not energy.calls


@pytest.mark.parametrize(
    "own, error, message",
    [
        (Steps(torch.full((3, 2), 0.5)), ValueError, "must hold zeros and ones only, got 0.5"),
        (Steps(torch.zeros(3, 3)), ValueError, r"must return the shape of x, \(3, 2\), got"),
        (Steps(torch.zeros(3, 2).double()), TypeError, "must have the dtype of x"),
        (Steps(rate=torch.zeros(2)), ValueError, r"acceptance rate .* shape \(N,\)"),
        (Steps(rate=0.5), TypeError, "must return states like x and acceptance rates"),
        (Steps(rate=torch.zeros(3).long()), TypeError, "acceptance rate .* floating"),
    ],
)
def test_what_an_own_method_returns_is_checked(own, error, message):
    with pytest.raises(error, match=message):
        gwg(own, torch.zeros(3, 2))


class ScriptedSteps(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)

    @torch.jit.export
    def gibbs_with_gradients(
        self,
        x: torch.Tensor,
        n_steps: int,
        beta: Optional[torch.Tensor] = None,
        generator: Optional[torch.Generator] = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (x + n_steps) % 2, torch.full((x.size(0),), 0.5)


def test_a_scripted_module_is_sampled_by_its_own_method():
    samples = gwg(torch.jit.script(ScriptedSteps()), torch.zeros(3, 2), n_steps=3)
    assert samples.x.eq(1).all() and samples.acceptance_rate.tolist() == [0.5] * 3


def test_every_kind_of_energy_gives_the_same_chains():
    module, start = fully_visible(), all_states(6)
    kinds = [module, torch.jit.script(module), lambda x: module(x)]
    first, *others = [gwg(e, start, n_steps=5, generator=seeded(11)).x for e in kinds]
    for other in others:
        assert torch.equal(first, other)


def test_one_gradient_a_step_and_one_at_the_start():
    calls = []

    def energy(x):
        calls.append(len(x))
        return x.square().sum(1)

    gwg(energy, torch.zeros(4, 3), n_steps=5)
    assert calls == [4] * 6


def test_steps_are_kept_and_the_last_one_completed_is_left_in_place():
    energy, start = fully_visible(), torch.zeros(20, 2, 3).double()
    whole = gwg(energy, start, n_steps=6, thin=1, generator=seeded(12))
    assert whole.trajectory.shape == (6, 20, 2, 3)
    assert torch.equal(whole.trajectory[-1], whole.x) and not start.any()
    in_place = start.clone()
    samples = gwg(energy, in_place, n_steps=6, inplace=True, generator=seeded(12))
    assert samples.x is in_place and torch.equal(in_place, whole.x)

    calls = []

    def failing(x):
        calls.append(x)
        if len(calls) > 1 + 3:
            raise KeyError("enough")
        return energy(x)

    in_place = start.clone()
    with pytest.raises(KeyError, match="enough"):
        gwg(failing, in_place, n_steps=6, inplace=True, generator=seeded(12))
    assert torch.equal(in_place, whole.trajectory[2])


@pytest.mark.parametrize("categorical", [False, True])
def test_neither_threads_nor_other_chains_change_a_chain(categorical):
    energy = dca() if categorical else fully_visible()

    def run(n):
        start = one_hot(torch.zeros(n, 5).long(), 4) if categorical else torch.zeros(n, 6).double()
        return gwg(energy, start, categorical=categorical, n_steps=8, generator=seeded(13)).x

    expected = run(300)
    torch.set_num_threads(3)
    assert torch.equal(run(300), expected) and torch.equal(run(5), expected[:5])


@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_proposals_without_a_finite_energy_are_rejected(value):
    linear = torch.tensor([0.3, -0.5, 0.2]).double()

    def energy(x):
        return torch.where((x.sum(1) > 1.5), value, x @ linear)

    x = gwg(energy, torch.zeros(20_000, 3).double(), n_steps=30, generator=seeded(14)).x
    states = all_states(3)
    law = torch.exp(-states @ linear) * (states.sum(1) <= 1)
    check_law(state_numbers(x), law / law.sum())


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_proposals_without_a_finite_score_are_rejected(value, categorical):
    binary = torch.zeros(20_000, 3)
    energy = CategoricalCliff(value) if categorical else Cliff(value)
    start = torch.stack([1 - binary, binary], -1) if categorical else binary
    x = gwg(energy, start, categorical=categorical, n_steps=30, generator=seeded(15)).x
    check_law(state_numbers(x[..., 1] if categorical else x), Cliff(value).law(all_states(3)))


@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_chains_must_start_where_the_energy_is_finite(value):
    def energy(x):
        return x.sum(1) + torch.tensor([0.0, 0.0, value])

    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match="gibbs_with_gradients: the energy of chain 2"):
        gwg(energy, torch.zeros(3, 2), generator=generator)
    assert torch.equal(generator.get_state(), before)


def test_an_energy_without_a_score_is_refused():
    with pytest.raises(ValueError, match="differentiably"):
        gwg(lambda x: x.round().detach().sum(1), torch.zeros(3, 2))


@pytest.mark.parametrize(
    "x, error, message",
    [
        (torch.zeros(2, 3).long(), TypeError, "floating"),
        (torch.full((2, 3), 0.5), ValueError, "zeros and ones"),
        (torch.zeros(0, 3), ValueError, "at least one chain"),
    ],
)
def test_wrong_states_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        gwg(lambda x: x.sum(1), x)


def clamped_law(energy, x, clamp):
    """The law of the states that agree with x where it is clamped."""
    states = all_states(x.numel())
    allowed = (states == x)[:, clamp].all(1)
    return torch.softmax(torch.where(allowed, -energy(states), -torch.inf), 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])  # the kernel, and tensors
def test_clamped_sites_keep_their_state_and_the_others_their_conditional_law(dtype):
    model = case("fvbm_n4_s1")
    weight, bias = model.array("W"), model.array("b")

    def energy(x):
        x = x.double()
        return -x @ bias - (x @ weight * x).sum(1) / 2

    clamp = torch.tensor([True, False, False, True])
    first = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    law = clamped_law(energy, first, clamp)
    x = exact_samples(law, 20_000, 4, seed=6).to(dtype)
    last = torch_ebm.gibbs_with_gradients(
        lambda y: energy(y).to(y.dtype), x, clamp=clamp, n_steps=3, generator=seeded(5)
    ).x
    assert (last[:, clamp] == first[clamp]).all() and not torch.equal(last, x)
    check_law(state_numbers(last.double()), law, "clamped law")


def test_clamped_categories_keep_their_state_and_clamped_chains_stay():
    x = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 1], [2, 2], [1, 0]])]
    slope = torch.randn(2, 3, dtype=torch.float64, generator=seeded(1))
    energy = lambda y: (y * slope).sum((1, 2))  # noqa: E731
    clamp = torch.tensor([[True, False], [True, True], [False, False]])
    options = {"categorical": True, "n_steps": 30, "generator": seeded(2)}
    run = torch_ebm.gibbs_with_gradients(energy, x, clamp=clamp, **options)
    assert torch.equal(run.x[clamp], x[clamp])
    assert run.acceptance_rate[1] == 0 and (run.acceptance_rate[[0, 2]] > 0).all()


def test_an_own_method_is_left_out_where_sites_are_clamped():
    machine = torch_ebm.BoltzmannMachine(3, dtype=torch.float64)
    x = torch.ones(5, 3, dtype=torch.float64)
    clamp = torch.tensor([False, True, False])
    last = torch_ebm.gibbs_with_gradients(
        machine, x, clamp=clamp, n_steps=9, generator=seeded(1)
    ).x
    assert (last[:, 1] == 1).all() and not torch.equal(last, x)
    with pytest.raises(TypeError, match="clamp must be boolean"):
        torch_ebm.gibbs_with_gradients(machine, x, clamp=clamp.double())
