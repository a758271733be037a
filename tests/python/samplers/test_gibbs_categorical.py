"""Gibbs sampling of categorical states, against exact kernels."""

import functools

import pytest
import torch

import torch_ebm
from discrete_kernels import (
    all_labels,
    dca,
    fully_visible,
    numbers_of_one_hot,
    one_hot,
    random_scan,
    small_potts,
    sweep,
)
from known_values import case, seeded
from statistical_checks import check_law, check_rows


@pytest.mark.parametrize("scan, kernel", [("systematic", sweep), ("random", random_scan)])
@pytest.mark.parametrize("blocks", [[[0], [1]], [[1], [0]], [[1, 0]]])
def test_every_row_of_the_kernel_of_categorical_sites(blocks, scan, kernel):
    labels, energy = all_labels(2, 3), small_potts()
    states = one_hot(labels, 3)
    x = torch_ebm.gibbs(
        energy,
        states.repeat_interleave(5000, 0),
        categorical=True,
        scan=scan,
        blocks=None if blocks == [[0], [1]] else torch.tensor(blocks),
        generator=seeded(11),
    ).x
    expected = kernel(energy(states).detach(), labels, blocks)
    check_rows(list(zip(numbers_of_one_hot(x).view(9, -1), expected, strict=True)))


@pytest.mark.parametrize("beta", [None, 0.5])
def test_a_potts_model_is_left_invariant_and_reached_from_one_state(beta):
    labels, energy = all_labels(5, 4), dca()
    states = one_hot(labels, 4)
    law = torch.softmax(-(beta or 1.0) * energy(states).detach(), 0)
    drawn = torch.multinomial(law, 50_000, replacement=True, generator=seeded(12))
    for start, n_steps in [(states[drawn], 2), (states[:1].expand(20_000, -1, -1), 15)]:
        x = torch_ebm.gibbs(
            energy, start, categorical=True, beta=beta, n_steps=n_steps, generator=seeded(13)
        ).x
        check_law(numbers_of_one_hot(x), law)


def test_the_potts_energy_has_the_stored_partition_function():
    log_z = torch.logsumexp(-dca()(one_hot(all_labels(5, 4), 4)), 0).item()
    assert log_z == pytest.approx(case("potts_dca_n5_q4_s111")["logZ"], abs=1e-10)


def test_clamped_categorical_sites_stay():
    labels, energy = all_labels(2, 3), small_potts()
    clamp = torch.tensor([True, False])
    start = one_hot(torch.tensor([[2, 0]]), 3).expand(20_000, -1, -1)
    x = torch_ebm.gibbs(energy, start, categorical=True, clamp=clamp, generator=seeded(14)).x
    law = torch.exp(-energy(one_hot(labels, 3)).detach()) * (labels[:, 0] == 2)
    check_law(numbers_of_one_hot(x), law / law.sum())


def test_two_categories_are_a_binary_site():
    binary = fully_visible()
    start = torch.zeros(300, 6).double()
    expected = torch_ebm.gibbs(binary, start, n_steps=4, generator=seeded(15)).x
    x = torch_ebm.gibbs(
        lambda x: binary(x[..., 1]),
        torch.stack([1 - start, start], -1),
        categorical=True,
        n_steps=4,
        generator=seeded(15),
    ).x
    assert torch.equal(x[..., 1], expected) and torch.equal(x.sum(-1), torch.ones_like(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_grid_of_categorical_sites_keeps_its_shape_and_dtype(dtype):
    start = one_hot(torch.zeros(7, 2, 4).long(), 3, dtype)
    x = torch_ebm.gibbs(lambda x: x.flatten(1).sum(1), start, categorical=True).x
    assert x.shape == start.shape and x.dtype == dtype and x.sum(-1).eq(1).all()


@pytest.mark.parametrize(
    "x, message",
    [
        (torch.ones(4), r"must have shape \(N, ..., K\)"),
        (torch.ones(4, 3, 1), r"with K >= 2 states of a site, got \(4, 3, 1\)"),
        (torch.tensor([[[1.0, 1], [0, 1]]]), "got a site with 2 ones"),
        (torch.tensor([[[0.5, 0.5]]]), "zeros and ones only, got 0.5"),
        (torch.tensor([[[torch.nan, 1]]]), "zeros and ones only, got nan"),
    ],
)
@pytest.mark.parametrize("name", ["gibbs", "gibbs_with_gradients", "discrete_langevin"])
def test_states_that_are_not_one_hot_are_refused(name, x, message):
    with pytest.raises(ValueError, match=f"{name}: x .*{message}"):
        getattr(torch_ebm, name)(lambda x: x.flatten(1).sum(1), x, categorical=True)


USES = {
    "gibbs": torch_ebm.gibbs,
    "gibbs_with_gradients": torch_ebm.gibbs_with_gradients,
    "discrete_langevin": functools.partial(torch_ebm.discrete_langevin, step_size=0.1),
    "pseudolikelihood": torch_ebm.pseudolikelihood,
    "minimum_probability_flow": torch_ebm.minimum_probability_flow,
    "concrete_score_matching": torch_ebm.concrete_score_matching,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_one_hot_data_must_say_whether_they_are_categorical(use):
    energy = lambda x: x.flatten(1).square().sum(1)  # noqa: E731
    for shape in ((20, 3), (20, 2, 2)):
        x = one_hot(torch.randint(3, shape, generator=seeded(7)), 3)
        with pytest.raises(ValueError, match="one-hot in its last dimension; say which it is"):
            use(energy, x)
        for answer in (True, False):
            use(energy, x, categorical=answer)
    use(energy, one_hot(torch.randint(3, (2, 2), generator=seeded(8)), 3))  # by accident
    use(energy, torch.eye(3).repeat(10, 1))  # two dimensions: units, not sites


def test_a_clamp_is_over_the_sites():
    x = one_hot(torch.zeros(3, 4).long(), 5)
    with pytest.raises(ValueError, match=r"clamp must have shape \(4,\) or \(3, 4\), got \(4, 5\)"):
        torch_ebm.gibbs(
            lambda x: x.sum((1, 2)), x, categorical=True, clamp=torch.zeros(4, 5, dtype=torch.bool)
        )


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_bad_energies_are_named_with_the_site_of_the_chain(value):
    def energy(x):
        return torch.where(x.argmax(2).eq(2).any(1), value, 0.0)

    x = one_hot(torch.zeros(3, 4).long(), 3)
    with pytest.raises(ValueError, match="the energy of chain 0 is .* at step 0, site 0"):
        torch_ebm.gibbs(energy, x, categorical=True)
    with pytest.raises(ValueError, match="the energy of chain 0 is .* at step 0, site [0-3]"):
        torch_ebm.gibbs(energy, x, categorical=True, scan="random")


class OwnPotts:
    """An energy with a sampler of its own for categorical states, here the general one, which it counts."""

    def __init__(self, change=lambda states: states):
        self.energy, self.change, self.steps = small_potts(), change, 0

    def __call__(self, x):
        return self.energy(x)

    def categorical_gibbs(self, x, n_steps, beta, clamp, generator):
        self.steps += n_steps
        options = {"n_steps": n_steps, "beta": beta, "clamp": clamp, "generator": generator}
        return self.change(torch_ebm.gibbs(self.energy, x, categorical=True, **options).x)


def test_an_energys_own_sampler_of_categorical_states_is_used():
    own, x = OwnPotts(), one_hot(all_labels(2, 3), 3)
    clamp = torch.tensor([True, False])
    for options in ({"n_steps": 3, "beta": 0.5}, {"clamp": clamp}):
        ours = torch_ebm.gibbs(own, x, categorical=True, generator=seeded(3), **options).x
        general = torch_ebm.gibbs(own.energy, x, categorical=True, generator=seeded(3), **options).x
        assert torch.equal(ours, general)
    assert own.steps == 4
    for options in ({"scan": "random"}, {"blocks": torch.tensor([[0], [1]])}):
        torch_ebm.gibbs(own, x, categorical=True, **options)
    assert own.steps == 4


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda states: states * 0, "what the energy's gibbs returns must be one-hot"),
        (lambda states: states[..., :2], "categorical_gibbs must return the shape of x"),
        (lambda states: states.roll(1, -1), "must keep the units that clamp keeps"),
    ],
)
def test_what_it_returns_is_checked(change, match):
    x = one_hot(all_labels(2, 3), 3)
    with pytest.raises(ValueError, match=match):
        torch_ebm.gibbs(OwnPotts(change), x, categorical=True, clamp=torch.ones(2).bool())
