"""Tempered transitions: exactly invariant, with the exact acceptance, for a short ladder that is enumerated."""

import functools

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import all_states, case, exact_samples, seeded, state_numbers
from statistical_checks import check_law, check_mean, check_rows

BETAS = [1.0, 0.5, 0.2]
TABLE = torch.tensor([0.0, 2.0, 1.5, 0.3, 2.5, 0.1, 1.0, 3.0]).double()


def table_energy(x):
    return TABLE[state_numbers(x)]


def flip_one(energy, x, *, beta, generator):
    """Metropolis with a uniformly chosen site: reversible."""
    site = torch.randint(x.shape[1], (len(x), 1), generator=generator)
    proposal = x.scatter(1, site, 1 - x.gather(1, site))
    ratio = (beta * (energy(x) - energy(proposal))).exp()
    accepted = torch.rand(len(x), generator=generator, dtype=torch.float64) < ratio
    return torch.where(accepted[:, None], proposal, x)


def flip_kernel(beta):
    """The matrix of `flip_one` on the table's eight states."""
    kernel = torch.zeros(8, 8).double()
    for state in range(8):
        for site in range(3):
            other = state ^ (1 << site)
            kernel[state, other] = (beta * (TABLE[state] - TABLE[other])).exp().clamp(max=1) / 3
        kernel[state, state] = 1 - kernel[state].sum()
    return kernel


def exact_kernel():
    """The law of one transition from every state, (8, 8), by summing over all ways."""
    one, two = flip_kernel(BETAS[1]), flip_kernel(BETAS[2])
    kernel = torch.zeros(8, 8).double()
    # x0 -T1-> a -T2-> b -T2-> c -T1-> d
    a, c, d = torch.meshgrid(*[torch.arange(8)] * 3, indexing="ij")
    step = [BETAS[1] - BETAS[0], BETAS[2] - BETAS[1]]
    for x0 in range(8):
        way = one[x0][a] * (two @ two)[a, c] * one[c, d]
        ratio = -step[0] * TABLE[x0] - step[1] * TABLE[a] + step[1] * TABLE[c] + step[0] * TABLE[d]
        moved = way * ratio.exp().clamp(max=1)
        kernel[x0].index_add_(0, d.flatten(), moved.flatten())
        kernel[x0, x0] += 1 - moved.sum()
    return kernel


def test_one_transition_is_the_enumerated_kernel():
    kernel, n_chains = exact_kernel(), 20_000
    law = torch.softmax(-TABLE, 0)
    torch.testing.assert_close(law @ kernel, law)  # so the formula is right
    x = all_states(3).repeat_interleave(n_chains, 0)
    out = torch_ebm.tempered_transitions(table_energy, x, BETAS, flip_one, generator=seeded(501))
    numbers = state_numbers(out.x).view(8, n_chains)
    check_rows([(numbers[state], kernel[state]) for state in range(8)])


@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_target_is_invariant(n_steps):
    law = torch.softmax(-TABLE, 0)
    out = torch_ebm.tempered_transitions(
        table_energy,
        exact_samples(law, 100_000, 3, seed=502),
        BETAS,
        flip_one,
        n_steps=n_steps,
        generator=seeded(503),
    )
    check_law(state_numbers(out.x), law)


def test_an_rbm_is_invariant_under_its_tempered_free_energies():
    known = case("kernels_rbm_6x4_s62")
    x = exact_samples(known.array("probs"), 60_000, 6, seed=504)
    out = torch_ebm.tempered_transitions(
        known.rbm(), x, [1.0, 0.7, 0.4, 0.1], torch_ebm.gibbs, n_steps=2, generator=seeded(505)
    )
    check_law(state_numbers(out.x), known.array("probs"))
    assert 0.2 < out.acceptance_rate.mean() < 0.999


def test_a_normal_law_keeps_its_variance():
    sampler = functools.partial(torch_ebm.mala, step_size=0.5)
    x = torch.randn(60_000, 1, generator=seeded(506)).double()
    out = torch_ebm.tempered_transitions(
        standard_normal, x, [1.0, 0.5, 0.25], sampler, n_steps=2, generator=seeded(507)
    )
    check_mean(out.x.square(), 1.0, 2.0, "variance")


def test_it_crosses_where_its_sampler_cannot():
    def two_wells(x):
        return 12 * (x.square() - 1).square().sum(1)

    sampler = functools.partial(torch_ebm.mala, step_size=0.02)
    start = torch.ones(200, 1).double()
    betas = torch.logspace(0, -1.5, 12)
    out = torch_ebm.tempered_transitions(
        two_wells, start, betas, sampler, n_steps=30, generator=seeded(508)
    )
    alone = sampler(two_wells, start, n_steps=30 * 22, generator=seeded(508)).x
    assert (out.x < 0).float().mean() > 0.1 and (alone < 0).float().mean() < 0.02


def test_trajectory_acceptance_and_inplace():
    x = torch.randn(7, 2, generator=seeded(509))
    sampler = functools.partial(torch_ebm.mala, step_size=0.1)
    run = functools.partial(
        torch_ebm.tempered_transitions, standard_normal, x, [1.0, 0.8], sampler, n_steps=4
    )
    out = run(thin=2, generator=seeded(1))
    assert out.trajectory.shape == (2, 7, 2) and torch.equal(out.trajectory[-1], out.x)
    assert out.acceptance_rate.shape == (7,) and (out.acceptance_rate <= 1).all()
    assert run(inplace=True, generator=seeded(1)).x is x and torch.equal(x, out.x)


def test_energies_that_are_nan_on_the_way_are_refused():
    def bad(x):
        return torch.where(x[:, 0] > 0, torch.nan, 0.0).double()

    x = torch.zeros(4, 1).double()
    out = torch_ebm.tempered_transitions(bad, x, [1.0, 0.5], lambda e, x, **_: x + 1)
    assert torch.equal(out.x, x) and not out.acceptance_rate.any()


def test_bad_arguments_are_named():
    run = functools.partial(torch_ebm.tempered_transitions, standard_normal, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="betas must be strictly decreasing"):
        run([1.0, 1.0], flip_one)
    with pytest.raises(ValueError, match="sampler must return the shape"):
        run([1.0, 0.5], lambda e, x, **_: x[0])
    with pytest.raises(KeyError):
        run([1.0, 0.5], lambda e, x, **_: {}["no"])
