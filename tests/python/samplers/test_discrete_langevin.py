"""The discrete Langevin proposal, with and without rejections, against naive kernels."""

import pytest
import torch

import torch_ebm
from discrete_kernels import (
    all_labels,
    curved_potts,
    dca,
    fully_visible,
    langevin_proposal,
    metropolis_hastings,
    numbers_of_one_hot,
    one_hot,
    scores,
    small_potts,
)
from energies import CategoricalCliff, Cliff
from known_values import all_states, case, exact_samples, seeded, state_numbers
from statistical_checks import check_law, check_mean, check_rows

langevin = torch_ebm.discrete_langevin
BITS = torch.tensor([[0.0], [1.0]], dtype=torch.float64)


def binary_proposal(energy, step_size, beta=1.0):
    states = all_states(6)
    score = scores(energy, states, beta)
    return langevin_proposal(states[..., None], score[..., None], states.long(), BITS, step_size)


def categorical_proposal(energy, step_size):
    labels = all_labels(2, 3)
    states = one_hot(labels, 3)
    hots = torch.eye(3, dtype=torch.float64)
    return langevin_proposal(states, scores(energy, states), labels, hots, step_size)


# --- Binary states --------------------------------------------------------------------------------


@pytest.mark.parametrize("step_size", [0.3, 2.0])
@pytest.mark.parametrize("name", ["kernels_fvbm_n6_s60", "kernels_rbm_6x4_s62"])
def test_every_row_of_the_kernel(name, step_size):
    energy = case(name).rbm() if name.startswith("kernels_rbm") else fully_visible()
    proposal = binary_proposal(energy, step_size)
    kernel, accepted = metropolis_hastings(proposal, energy(all_states(6)).detach())
    start = all_states(6).repeat_interleave(4096, 0)
    samples = langevin(energy, start, step_size=step_size, generator=seeded(1))
    check_rows(list(zip(state_numbers(samples.x).view(64, -1), kernel, strict=True)))
    check_mean(
        samples.acceptance_rate.view(64, -1).mean(0), accepted.mean(), what="acceptance rate"
    )


def test_every_row_of_the_kernel_without_rejections():
    energy = case("kernels_rbm_6x4_s62").rbm()
    start = all_states(6).repeat_interleave(4096, 0)
    samples = langevin(energy, start, step_size=0.7, metropolis=False, generator=seeded(2))
    rows = zip(state_numbers(samples.x).view(64, -1), binary_proposal(energy, 0.7), strict=True)
    check_rows(list(rows))
    assert samples.acceptance_rate.eq(1).all()


def test_without_rejections_a_quadratic_energy_has_the_law_that_is_documented():
    energy, states, step_size = fully_visible(), all_states(6), 0.5
    changes = (1 - 2 * states) * scores(energy, states)
    log_law = torch.nn.functional.softplus(changes / 2 - 1 / (2 * step_size)).sum(1)
    law = torch.softmax(log_law - energy(states).detach(), 0)
    torch.testing.assert_close(law @ binary_proposal(energy, step_size), law)
    start = exact_samples(law, 100_000, 6, seed=3)
    x = langevin(
        energy, start, step_size=step_size, metropolis=False, n_steps=5, generator=seeded(4)
    ).x
    check_law(state_numbers(x), law)
    assert (law - case("kernels_fvbm_n6_s60").array("probs")).abs().sum() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_rejections_the_exact_law_is_left_invariant(dtype):
    law = case("kernels_fvbm_n6_s60").array("probs")
    start = exact_samples(law, 100_000, 6, seed=5, dtype=dtype)
    energy = fully_visible().to(dtype)
    x = langevin(energy, start, step_size=1.0, n_steps=6, generator=seeded(6)).x
    assert x.dtype == dtype and not torch.equal(x, start)
    check_law(state_numbers(x), law)


def test_the_temperature_and_step_size_of_every_chain():
    energy, n = fully_visible(), 2048
    settings = [(0.0, 0.4), (0.5, 1.5), (2.0, 0.8)]
    beta, step_size = torch.tensor(settings).double().repeat_interleave(64 * n, 0).T
    start = all_states(6).repeat_interleave(n, 0).repeat(3, 1)
    x = langevin(energy, start, beta=beta, step_size=step_size, generator=seeded(7)).x
    rows = []
    for numbers, (b, step) in zip(state_numbers(x).split(64 * n), settings, strict=True):
        energies = b * energy(all_states(6)).detach()
        kernel, _ = metropolis_hastings(binary_proposal(energy, step, b), energies)
        rows += zip(numbers.view(64, n), kernel, strict=True)
    check_rows(rows)


def test_the_step_size_of_every_step():
    energy, states = fully_visible(), all_states(6)
    kernels = [
        metropolis_hastings(binary_proposal(energy, step), energy(states).detach())[0]
        for step in (0.4, 3.0)
    ]
    start = torch.zeros(50_000, 6).double()
    x = langevin(energy, start, step_size=[0.4, 3.0], n_steps=2, generator=seeded(8)).x
    check_law(state_numbers(x), (kernels[0] @ kernels[1])[0])


# --- Categorical states ---------------------------------------------------------------------------


@pytest.mark.parametrize("metropolis", [True, False])
@pytest.mark.parametrize("energy", [small_potts(), curved_potts()], ids=["quadratic", "curved"])
def test_every_row_of_the_kernel_of_categorical_sites(energy, metropolis):
    states = one_hot(all_labels(2, 3), 3)
    proposal = categorical_proposal(energy, 0.9)
    kernel, accepted = metropolis_hastings(proposal, energy(states).detach())
    if not metropolis:
        kernel, accepted = proposal, torch.ones(9)
    start = states.repeat_interleave(20_000, 0)
    options = {"step_size": 0.9, "metropolis": metropolis, "categorical": True}
    samples = langevin(energy, start, generator=seeded(9), **options)
    check_rows(list(zip(numbers_of_one_hot(samples.x).view(9, -1), kernel, strict=True)))
    if metropolis:
        check_mean(
            samples.acceptance_rate.view(9, -1).mean(0), accepted.mean(), what="acceptance rate"
        )


def test_a_potts_model_is_left_invariant_and_reached_from_one_state():
    energy, states = dca(), one_hot(all_labels(5, 4), 4)
    law = torch.softmax(-energy(states).detach(), 0)
    drawn = torch.multinomial(law, 40_000, replacement=True, generator=seeded(10))
    for start, n_steps in [(states[drawn], 5), (states[:1].expand(10_000, -1, -1), 100)]:
        x = langevin(
            energy, start, step_size=1.0, categorical=True, n_steps=n_steps, generator=seeded(11)
        ).x
        check_law(numbers_of_one_hot(x), law)


def test_two_categories_are_a_binary_site_with_half_the_squared_distance():
    binary, start = fully_visible(), torch.zeros(300, 6).double()
    expected = langevin(binary, start, step_size=0.5, n_steps=9, generator=seeded(12)).x
    # The draws invert the same conditional laws, by moves from the current state.
    x = langevin(
        lambda x: binary(x[..., 1]),
        torch.stack([1 - start, start], -1),
        step_size=1.0,
        categorical=True,
        n_steps=9,
        generator=seeded(12),
    ).x
    assert torch.equal(x[..., 1], expected)


# --- Everything else ------------------------------------------------------------------------------


@pytest.mark.parametrize("metropolis", [True, False])
def test_every_kind_of_energy_gives_the_same_chains(metropolis):
    module, start = fully_visible(), all_states(6)
    kinds = [module, torch.jit.script(module), lambda x: module(x)]
    options = {"metropolis": metropolis, "n_steps": 5}
    first, *others = [langevin(e, start, generator=seeded(13), **options).x for e in kinds]
    for other in others:
        assert torch.equal(first, other)


@pytest.mark.parametrize("metropolis", [True, False])
def test_steps_are_kept_and_the_last_one_completed_is_left_in_place(metropolis):
    energy, start = fully_visible(), torch.zeros(20, 2, 3).double()
    options = {"metropolis": metropolis, "step_size": 1.0, "n_steps": 6}
    whole = langevin(energy, start, thin=1, generator=seeded(14), **options)
    assert whole.trajectory.shape == (6, 20, 2, 3)
    assert torch.equal(whole.trajectory[-1], whole.x) and not start.any()
    in_place = start.clone()
    samples = langevin(energy, in_place, inplace=True, generator=seeded(14), **options)
    assert samples.x is in_place and torch.equal(in_place, whole.x)

    calls = []

    def failing(x):
        calls.append(x)
        if len(calls) > 1 + 3:
            raise KeyError("enough")
        return energy(x)

    in_place = start.clone()
    with pytest.raises(KeyError, match="enough"):
        langevin(failing, in_place, inplace=True, generator=seeded(14), **options)
    assert torch.equal(in_place, whole.trajectory[2])


@pytest.mark.parametrize("metropolis", [True, False])
@pytest.mark.parametrize("categorical", [False, True])
def test_neither_threads_nor_other_chains_change_a_chain(categorical, metropolis):
    energy = dca() if categorical else fully_visible()

    def run(n):
        start = one_hot(torch.zeros(n, 5).long(), 4) if categorical else torch.zeros(n, 6).double()
        options = {"categorical": categorical, "metropolis": metropolis, "step_size": 1.0}
        return langevin(energy, start, n_steps=8, generator=seeded(15), **options).x

    expected = run(300)
    torch.set_num_threads(3)
    assert torch.equal(run(300), expected) and torch.equal(run(5), expected[:5])


def forbidding(value):
    linear = torch.tensor([0.3, -0.5, 0.2]).double()
    return lambda x: torch.where((x.sum(1) > 1.5), value, x @ linear)


@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_proposals_without_a_finite_energy_are_rejected(value):
    start = torch.zeros(20_000, 3).double()
    x = langevin(forbidding(value), start, step_size=1.0, n_steps=40, generator=seeded(16)).x
    states = all_states(3)
    law = torch.exp(-states @ torch.tensor([0.3, -0.5, 0.2]).double()) * (states.sum(1) <= 1)
    check_law(state_numbers(x), law / law.sum())


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("value", [torch.inf, torch.nan, -torch.inf])
def test_proposals_without_a_finite_score_are_rejected(value, categorical):
    binary = torch.zeros(20_000, 3).double()
    energy = CategoricalCliff(value) if categorical else Cliff(value)
    start = torch.stack([1 - binary, binary], -1) if categorical else binary
    options = {"categorical": categorical, "step_size": 1.0, "n_steps": 40}
    x = langevin(energy, start, generator=seeded(18), **options).x
    units = x[..., 1] if categorical else x
    check_law(state_numbers(units), Cliff(value).law(all_states(3)))


def test_without_rejections_they_are_an_error_and_the_chains_stay_where_they_were():
    start = torch.zeros(500, 3).double()
    options = {"step_size": 1.0, "metropolis": False, "inplace": True}
    with pytest.raises(ValueError, match="the energy of chain [0-9]+ is not finite at step 1"):
        langevin(forbidding(torch.nan), start, n_steps=9, generator=seeded(17), **options)
    assert not start.any()


@pytest.mark.parametrize(
    "x, options, error, message",
    [
        (torch.zeros(2, 3), {"step_size": 0.0}, ValueError, "step_size must be > 0"),
        (torch.zeros(2, 3), {"step_size": [0.1, 0.2]}, ValueError, "one for every step, 1, got 2"),
        (torch.zeros(2, 3), {"step_size": torch.ones(3)}, ValueError, "one for every chain"),
        (torch.zeros(2, 3).long(), {}, TypeError, "floating"),
        (torch.full((2, 3), 0.5), {}, ValueError, "zeros and ones"),
        (torch.zeros(0, 3), {}, ValueError, "at least one chain"),
    ],
)
def test_wrong_arguments_are_named_and_draw_no_key(x, options, error, message):
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(error, match="discrete_langevin: .*" + message):
        langevin(lambda x: x.sum(1), x, generator=generator, **options)
    assert torch.equal(generator.get_state(), before)
