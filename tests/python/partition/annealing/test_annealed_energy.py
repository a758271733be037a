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


# --- The energy's own samplers and differences ----------------------------------------------------


def machine(dtype=torch.float64):
    torch.manual_seed(11)
    energy = torch_ebm.BoltzmannMachine(4, dtype=dtype)
    with torch.no_grad():
        energy.weight.normal_()
        energy.bias.normal_()
    return energy


def bernoulli(dtype=torch.float64):
    return Independent(Bernoulli(logits=torch.tensor([1.5, -0.5, 0.0, 0.7], dtype=dtype)), 1)


def random_scan(energy, x, *, n_steps, **options):
    return torch_ebm.gibbs(energy, x, scan="random", n_steps=4 * n_steps, **options)


OWN = {
    "gibbs": torch_ebm.gibbs,
    "random_scan_gibbs": random_scan,
    "gibbs_with_gradients": torch_ebm.gibbs_with_gradients,
}


@pytest.mark.parametrize("beta", [0.0, 1e-6, 0.4, 1.0, 1.7, "each"])
@pytest.mark.parametrize("name", OWN)
def test_a_boltzmann_machine_keeps_its_samplers_on_the_path(name, beta):
    energy, base = machine(), bernoulli()
    path = torch_ebm.annealed_energy(lambda x: energy(x), base)
    own = torch_ebm.annealed_energy(energy, base)
    states = torch_ebm.testing.enumerate_states((4,))
    if beta == "each":  # half of the chains at each of two temperatures
        n, betas = 20_000, torch.tensor([0.0, 0.6]).double().repeat_interleave(20_000)
        laws = [torch_ebm.testing.exact_law(path, states, b) for b in (0.0, 0.6)]
    else:
        n, betas = 20_000, torch.tensor(beta).double()
        laws = [torch_ebm.testing.exact_law(path, states, beta)]
    x = torch.cat([states[torch.multinomial(law, n, True, generator=seeded(12))] for law in laws])
    last = OWN[name](own, x, n_steps=6, beta=betas, generator=seeded(13)).x
    for part, law in zip(last.split(n), laws):
        numbers = (part @ torch.tensor([1.0, 2.0, 4.0, 8.0]).double()).long()
        check_law(numbers, law.numpy(), f"law at beta = {beta}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_own_sampler_of_a_path_starts_at_the_base(dtype):
    # At beta = 0 the states are those of the base, whatever the energy.
    path = torch_ebm.annealed_energy(machine(dtype), bernoulli(dtype))
    x = torch.zeros(40_000, 4, dtype=dtype)
    last = torch_ebm.gibbs(path, x, beta=0.0, generator=seeded(14)).x
    assert last.dtype == dtype
    for i, p in enumerate(bernoulli().base_dist.probs):
        check_mean(last[:, i].double(), p.item(), what=f"unit {i}")


def test_other_bases_and_energies_take_the_general_sampler():
    class Uneven:
        def log_prob(self, x):
            return -x[:, 0] * x[:, 1]

    energy, x = machine(), torch.zeros(50, 4, dtype=torch.float64)
    rbm = torch_ebm.RBM(4, 3, dtype=torch.float64)
    for model, base in ((energy, Uneven()), (rbm, bernoulli())):
        plain = torch_ebm.annealed_energy(lambda x, model=model: model(x), base)
        own = torch_ebm.annealed_energy(model, base)
        for name, sampler in OWN.items():
            one, other = (
                sampler(e, x, n_steps=3, beta=0.5, generator=seeded(15)).x for e in (own, plain)
            )
            assert torch.equal(one, other), name
        # Without a temperature it is the energy, and so are its sampler and its flips.
        one, other = (torch_ebm.gibbs(e, x, generator=seeded(16)).x for e in (own, model))
        assert torch.equal(one, other)
        losses = [torch_ebm.pseudolikelihood(e, x) for e in (own, model)]
        assert torch.equal(*losses)


def test_ais_of_a_boltzmann_machine_uses_its_sampler(monkeypatch):
    def callable_of(handle, what):
        raise AssertionError("neither its energy nor its sampler goes through Python")

    energy = machine()
    exact = torch_ebm.exact_log_z(energy, 4, dtype=torch.float64)
    monkeypatch.setattr(torch_ebm.energy.energy, "callable_of", callable_of)
    estimate = torch_ebm.ais(energy, bernoulli(), betas=50, n_chains=2000, generator=seeded(17))
    assert (estimate.log_z - exact).abs() < 5 * estimate.std_error
