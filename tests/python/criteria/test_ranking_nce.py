"""Ranking NCE: its definition, and what it does not depend on."""

import math

import pytest
import torch

import torch_ebm
from criteria_table import BINARY
from known_values import random_rbm
from noises import UniformBits
from test_nce import Biased, drawn


@pytest.mark.parametrize("nu", [1, 2, 5])
def test_definition(nu):
    rbm = random_rbm(4, 3, 1.0, 5)
    x, noise = drawn(nu)
    with torch.no_grad():
        terms = torch_ebm.ranking_nce(rbm, x, noise, reduction="none")
    for n, term in enumerate(terms.tolist()):
        own = math.exp(-rbm(x[n : n + 1]).item() - noise.data_log_prob[n])
        others = [
            math.exp(-rbm(noise.samples[n, k : k + 1]).item() - noise.log_prob[n, k])
            for k in range(nu)
        ]
        assert term == pytest.approx(-math.log(own / (own + sum(others))), rel=1e-10)


def test_the_noise_needs_no_normaliser():
    rbm = random_rbm(4, 3, 1.0, 5)
    x, noise = drawn(3)
    shifted = noise._replace(log_prob=noise.log_prob + 1.5, data_log_prob=noise.data_log_prob + 1.5)
    torch.testing.assert_close(
        torch_ebm.ranking_nce(rbm, x, shifted), torch_ebm.ranking_nce(rbm, x, noise)
    )


@pytest.mark.parametrize("law", [UniformBits(4), Biased()])
def test_the_gradient_vanishes_at_the_truth(law):
    """Exactly, over all triples of a state and two noise samples, by their probabilities."""
    p, energy = BINARY, BINARY.energy()
    numbers = torch.cartesian_prod(*[torch.arange(16)] * 3)
    log_q = law.log_prob(p.states)
    weights = p.probabilities[numbers[:, 0]] * log_q[numbers[:, 1:]].sum(1).exp()
    noise = torch_ebm.NoiseSamples(
        p.states[numbers[:, 1:]], log_q[numbers[:, 1:]], log_q[numbers[:, 0]]
    )
    loss = torch_ebm.ranking_nce(energy, p.states[numbers[:, 0]], noise, weights=weights)
    for gradient in torch.autograd.grad(loss, list(energy.parameters())):
        assert gradient.abs().max() < 1e-12


def test_indistinguishable_noise_costs_log_of_the_number_of_states():
    x, noise = drawn(4)
    own = noise._replace(
        samples=x[:, None].expand(-1, 4, -1), log_prob=noise.data_log_prob[:, None].expand(-1, 4)
    )
    rbm = random_rbm(4, 3, 1.0, 5)
    assert torch_ebm.ranking_nce(rbm, x, own).item() == pytest.approx(math.log(5), rel=1e-12)
