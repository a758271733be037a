"""The geometric path from a base: what it is at every temperature, and what samplers make of it."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

import torch_ebm
from known_values import seeded
from statistical_checks import check_law, check_mean

BASE = Independent(Normal(torch.tensor([0.5, -1.0]).double(), torch.tensor([1.0, 2.0]).double()), 1)


def quartic(x):
    return (x**4).sum(1) / 4 + x.prod(1)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 1.5])
def test_mala_follows_the_score_of_the_path(beta):
    # One step from x with a tiny step size moves by -step_size dE/dx and noise that the seed fixes.
    path = torch_ebm.annealed_energy(quartic, BASE)
    x = torch.randn(5, 2, dtype=torch.float64, generator=seeded(1))

    def whole(x):
        return beta * quartic(x) - (1 - beta) * BASE.log_prob(x)

    one = torch_ebm.mala(path, x, step_size=1e-3, beta=beta, generator=seeded(2)).x
    other = torch_ebm.mala(whole, x, step_size=1e-3, generator=seeded(2)).x
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_gibbs_leaves_the_law_between_invariant(beta):
    logits = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
    base = Independent(Bernoulli(logits=logits), 1)
    coupling = torch.tensor([[0.0, 1.0, -2.0], [1.0, 0.0, 0.5], [-2.0, 0.5, 0.0]]).double()

    def energy(x):
        return -(x @ coupling * x).sum(1) / 2

    states = torch.tensor([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]).double()
    law = torch.softmax(-beta * energy(states) + (1 - beta) * base.log_prob(states), 0)
    path = torch_ebm.annealed_energy(energy, base)
    x = states[torch.randint(8, (40_000,), generator=seeded(3))]
    last = torch_ebm.gibbs(path, x, n_steps=40, beta=beta, generator=seeded(4)).x
    numbers = (last @ torch.tensor([1.0, 2.0, 4.0]).double()).long()
    check_law(numbers, law.numpy(), f"law at beta = {beta}")


def test_replica_exchange_takes_a_path():
    base = Independent(Normal(torch.zeros(2).double(), 3.0), 1)
    path = torch_ebm.annealed_energy(lambda x: (x**2).sum(1) * 2, base)
    x = torch.zeros(3, 2000, 2, dtype=torch.float64)
    betas = torch.tensor([1.0, 0.3, 0.0])
    sampler = lambda e, x, beta, generator: torch_ebm.mala(  # noqa: E731
        e, x, step_size=0.1, beta=beta, n_steps=5, generator=generator
    )
    last = torch_ebm.replica_exchange(path, x, betas, sampler, n_steps=40, generator=seeded(5)).x
    check_mean(last[0].square(), 0.25, what="variance at beta = 1")
    check_mean(last[1].square(), 1 / (4 * 0.3 + 0.7 / 9), what="variance at beta = 0.3")


def test_without_a_temperature_it_is_the_energy():
    path = torch_ebm.annealed_energy(quartic, BASE)
    x = torch.randn(5, 2, dtype=torch.float64, generator=seeded(6))
    assert torch.equal(path(x), quartic(x))
    torch.testing.assert_close(path.base_energy(x), -BASE.log_prob(x))


def test_a_score_in_closed_form_is_kept():
    class Closed:
        calls = 0

        def __call__(self, x):
            return quartic(x)

        def value_and_score(self, x):
            self.calls += 1
            return quartic(x), -(x**3) - x.flip(1)

    energy = Closed()
    path = torch_ebm.annealed_energy(energy, BASE)
    x = torch.randn(5, 2, dtype=torch.float64, generator=seeded(7))
    one = torch_ebm.mala(path, x, step_size=0.1, beta=0.4, generator=seeded(8)).x
    plain = torch_ebm.annealed_energy(quartic, BASE)
    other = torch_ebm.mala(plain, x, step_size=0.1, beta=0.4, generator=seeded(8)).x
    assert energy.calls > 0
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_state_outside_the_base_is_forbidden():
    class Half:
        def log_prob(self, x):
            return torch.where(x[:, 0] > 0, -x[:, 0], -math.inf)

    path = torch_ebm.annealed_energy(lambda x: x.square().sum(1), Half())
    x = torch.ones(500, 1, dtype=torch.float64)
    last = torch_ebm.mala(path, x, step_size=0.5, n_steps=20, beta=0.5, generator=seeded(9)).x
    assert (last > 0).all()


def test_proposals_outside_of_the_support_of_a_distribution_are_rejected():
    base = Independent(torch.distributions.Exponential(torch.ones(2).double()), 1)
    path = torch_ebm.annealed_energy(lambda x: x.square().sum(1) / 2, base)
    x = base.sample((20_000,))
    last = torch_ebm.mala(path, x, step_size=0.3, n_steps=30, beta=0.0, generator=seeded(10)).x
    assert (last > 0).all()
    check_mean(last, 1.0, 1.0, "mean of an exponential law")
    energies = path.base_energy(torch.tensor([[1.0, 1.0], [1.0, -1.0], [math.nan, 1.0]]).double())
    assert energies.tolist() == [2.0, math.inf, math.inf]


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="energy must be callable, got int"):
        torch_ebm.annealed_energy(3, BASE)
    with pytest.raises(TypeError, match="base must have a method log_prob, got int"):
        torch_ebm.annealed_energy(quartic, 3)
