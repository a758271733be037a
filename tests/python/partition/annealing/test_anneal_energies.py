"""The energies behind the weights: what samplers report, and energies that reuse their memory."""

import functools

import pytest
import torch

import torch_ebm
from known_values import seeded
from paths import Gaussians
from torch_ebm import anneal, linear_schedule


class Counting(Gaussians):
    states = 0

    def __call__(self, x):
        self.states += len(x)
        return super().__call__(x)


def mala_of_a_surrogate(energy, x, **options):
    class Surrogate(Gaussians):
        def __call__(self, x):
            return energy(x) + 40

    return torch_ebm.mala(Surrogate(2, 1.0, 0.4), x, step_size=0.05, **options)


def mala_in_a_box(energy, x, **options):
    samples = torch_ebm.mala(energy, x, step_size=0.05, **options)
    samples.x.clamp_(-0.5, 0.5)
    return samples


def only_states(sampler):
    return lambda energy, x, **options: sampler(energy, x, **options).x


MALA = functools.partial(torch_ebm.mala, step_size=0.05)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)
TUNED = torch_ebm.PathTuning("mala", ENDS, 0.1 - 0.05 * ENDS, torch.ones(2, 2).double())


@pytest.mark.parametrize(
    "betas",
    [
        linear_schedule(10),
        torch.tensor([1.0, 0.5, 1e-9, 0.0]),
        torch.tensor([0.0, 1e-9, 0.5, 1.0]),
    ],
)
@pytest.mark.parametrize(
    "sampler", [MALA, torch_ebm.hmc, TUNED, mala_of_a_surrogate, mala_in_a_box]
)
def test_weights_with_the_energies_that_a_sampler_reports(sampler, betas):
    path = Gaussians(2, 1.0, 0.4)
    x = path.exact(20, float(betas[0]), seeded(17))
    expected = anneal(path, x, betas, only_states(sampler), generator=seeded(18))
    chains = anneal(path, x, betas, sampler, generator=seeded(18))
    assert torch.equal(chains.x, expected.x)
    torch.testing.assert_close(chains.log_weights, expected.log_weights, rtol=1e-12, atol=1e-12)


def test_energies_may_belong_to_their_chains():
    places = torch.randn(40, 2, generator=seeded(23), dtype=torch.float64)
    energy = lambda x: (x - places).square().sum(1)  # noqa: E731
    chains = anneal(energy, places + 1, linear_schedule(5), MALA, generator=seeded(24))
    assert (chains.log_weights < 0).all()


def test_reported_energies_save_evaluations():
    path = Counting(2, 1.0, 0.4)
    x = path.exact(20, 0, seeded(19))
    anneal(path, x, linear_schedule(10), MALA)
    assert path.states == 10 * 2 * 20 + 20  # two a transition of MALA, and those at beta = 0
    path.states = 0
    anneal(path, x, linear_schedule(10), only_states(MALA))
    assert path.states == 10 * 3 * 20


class OneMemory(Gaussians):
    """Returns the same memory every time."""

    def __init__(self, *law):
        super().__init__(*law)
        self.memory = torch.zeros(40, dtype=torch.float64)

    def __call__(self, x):
        return self.memory.copy_(super().__call__(x))

    def base_energy(self, x):
        return self.memory.copy_(super().base_energy(x))


class OneMemoryTempered(OneMemory):
    def tempered(self, x, beta):
        return self.memory.copy_(x.square().sum(1) * self.precision(beta) / 2)


@pytest.mark.parametrize("energy", [OneMemory, OneMemoryTempered])
def test_an_energy_may_use_its_memory_again(energy):
    law = (2, 1.0, 0.5)
    path, same = energy(*law), Gaussians(*law)
    x = same.exact(40, 0, seeded(21))
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    weights = [anneal(p, x, linear_schedule(3), stay).log_weights for p in (path, same)]
    torch.testing.assert_close(*weights)
    betas = [torch_ebm.adaptive_schedule(p, x, stay, generator=seeded(22)) for p in (path, same)]
    torch.testing.assert_close(*betas)
