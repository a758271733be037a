"""Several Python threads at once: what each gets is what it gets alone."""

import functools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import torch_ebm
from known_values import random_rbm, seeded

D = 6


class Quartic(torch.nn.Module):
    """Written in Python, so that the threads take turns inside the operators."""

    def __init__(self, seed):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(D, generator=seeded(seed)))

    def forward(self, x):
        return (self.weight * x**4).sum(1)


def sample(seed):
    generator, energy = seeded(seed), Quartic(seed)
    x = torch.randn(8, D, generator=generator)
    x = torch_ebm.hmc(energy, x, step_size=0.1, n_steps=20, generator=generator).x
    bits = torch_ebm.gibbs(energy, (x > 0).float(), n_steps=5, generator=generator).x
    return torch.cat([x, bits])


def train(seed):
    rbm = random_rbm(D, 4, 0.1, seed=seed, dtype=torch.float32)
    data = (torch.rand(20, D, generator=seeded(seed)) < 0.5).float()
    phase = torch_ebm.PCD(10, (D,), functools.partial(torch_ebm.gibbs, n_steps=2), seed=seed)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
    for _ in range(20):
        loss = torch_ebm.maximum_likelihood(rbm, data, negative_samples=phase(rbm))
        loss = loss + torch_ebm.pseudolikelihood(rbm, data, chunk_size=20)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rbm.weight.detach()


def anneal(seed, bernoulli=torch.distributions.Bernoulli):
    """From a base that takes no generator."""
    base = torch.distributions.Independent(bernoulli(torch.full((D,), 0.4)), 1)
    state = torch.get_rng_state()
    estimate = torch_ebm.ais(
        lambda x: (x[:, 1:] * x[:, :-1]).sum(1),
        base,
        torch_ebm.gibbs,
        n_chains=20,
        betas=8,
        generator=seeded(seed),
    )
    assert torch.equal(torch.get_rng_state(), state)
    return estimate.log_weights


@pytest.mark.parametrize("work", [sample, train, anneal])
def test_threads_equal_the_sequential_results(work):
    alone = [work(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for one, other in zip(alone, pool.map(work, range(4))):
                assert torch.equal(one, other)


def test_a_seeded_ais_leaves_the_default_generator_to_others():
    """Also in the middle of a draw, when another thread may draw from it."""

    class Watching(torch.distributions.Bernoulli):
        def sample(self, sample_shape=()):
            before = torch.get_rng_state()
            x = super().sample(sample_shape)
            assert torch.equal(torch.get_rng_state(), before)
            return x

    assert torch.equal(anneal(1, Watching), anneal(1))
