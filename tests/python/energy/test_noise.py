"""Drawing noise, and a model as its own noise."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

import torch_ebm
from criteria_table import BINARY
from known_values import all_states, random_rbm, seeded
from noises import UniformBits


@pytest.mark.parametrize("n_noise", [1, 3])
def test_samples_and_their_log_densities(n_noise):
    law = MultivariateNormal(
        torch.tensor([1.0, -1.0]).double(), torch.tensor([[2, 0.5], [0.5, 1]]).double()
    )
    x = torch.randn(6, 2, dtype=torch.float64, generator=seeded())
    noise = torch_ebm.draw_noise(law, x, n_noise)
    assert noise.samples.shape == (6, n_noise, 2)
    assert torch.equal(noise.log_prob, law.log_prob(noise.samples))
    assert torch.equal(noise.data_log_prob, law.log_prob(x))


def test_units_of_any_shape():
    law = Independent(Bernoulli(torch.full((2, 3), 0.3).double()), 2)
    x = all_states(6)[:5].view(5, 2, 3)
    noise = torch_ebm.draw_noise(law, x, 4)
    assert noise.samples.shape == (5, 4, 2, 3)
    assert torch.equal(noise.log_prob, law.log_prob(noise.samples))
    single = torch_ebm.draw_noise(Normal(0.0, 1.0), torch.zeros(5), 2)
    assert single.samples.shape == (5, 2)


def test_samples_take_the_dtype_of_the_data():
    assert torch_ebm.draw_noise(UniformBits(3), torch.zeros(2, 3)).samples.dtype == torch.float32


def test_a_generator_goes_to_a_sample_that_takes_one():
    x = torch.zeros(5, 3)
    one, two = (
        torch_ebm.draw_noise(UniformBits(3), x, 2, generator=seeded(1)).samples for _ in range(2)
    )
    assert torch.equal(one, two)


def test_drawn_noise_has_no_gradient():
    scale = torch.ones(2, requires_grad=True)
    noise = torch_ebm.draw_noise(
        Independent(Normal(torch.zeros(2), scale), 1), torch.zeros(3, 2, requires_grad=True)
    )
    assert not any(part.requires_grad for part in noise)


def test_wrong_noise_is_named():
    x = torch.zeros(5, 3)
    with pytest.raises(ValueError, match=r"log_prob must .* \(5,\), got \(5, 3\); .*Independent"):
        torch_ebm.draw_noise(Normal(torch.zeros(3), torch.ones(3)), x)
    with pytest.raises(ValueError, match=r"nce: the noise's sample must .* \(10, 3\), got \(10,\)"):
        torch_ebm.nce(lambda u: u, x, Normal(0.0, 1.0), n_noise=2)
    with pytest.raises(ValueError, match="n_noise must be at least 1, got 0"):
        torch_ebm.draw_noise(UniformBits(3), x, 0)
    with pytest.raises(ValueError, match="x must have shape"):
        torch_ebm.draw_noise(UniformBits(), torch.tensor(1.0))


def negative(nu):
    """nu states for each of 7 examples, and the examples."""
    x = all_states(4)[torch.arange(7) * 2 + 1]
    numbers = torch.randint(16, (7, nu), generator=seeded(2))
    return x, all_states(4)[numbers]


@pytest.mark.parametrize("nu", [1, 4])
def test_self_contrastive_estimation_has_the_gradient_of_maximum_likelihood(nu):
    x, y = negative(nu)
    rbm = random_rbm(4, 3, 1.0, 5)
    log_z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    parameters = list(rbm.parameters())
    by_noise = torch.autograd.grad(
        torch_ebm.nce(rbm, x, torch_ebm.model_noise(rbm, x, y), log_z=log_z), [*parameters, log_z]
    )
    likelihood = torch_ebm.maximum_likelihood(rbm, x, negative_samples=y.flatten(0, 1))
    expected = torch.autograd.grad(likelihood, parameters)
    for one, other in zip(by_noise, expected):
        torch.testing.assert_close(one, nu / (1 + nu) * other)
    assert by_noise[-1].abs() < 1e-14


def test_log_z_learns_how_far_a_frozen_model_is_off():
    """Over all states as the noise of a uniform model, whose log Z is 4 log 2."""
    p, uniform = BINARY, lambda u: 0 * u.sum(1)
    energy, y = p.energy(), p.states.expand(16, 16, 4)
    log_z = (torch.logsumexp(-energy(p.states), 0) - math.log(16)).detach()
    log_z.requires_grad_()
    loss = torch_ebm.nce(
        energy,
        p.states,
        torch_ebm.model_noise(uniform, p.states, y),
        log_z=log_z,
        weights=p.probabilities,
    )
    for gradient in torch.autograd.grad(loss, [log_z, *energy.parameters()]):
        assert gradient.abs().max() < 1e-12


def test_what_is_no_noise_is_refused():
    x = torch.zeros(4, 2)
    for noise, n_noise, match in (
        (None, 1, "draw_noise: noise must have methods sample and log_prob, .* got NoneType"),
        ((x, x, x), 1, "draw_noise: noise must have methods .* got tuple"),
        (None, 1.5, "draw_noise: n_noise must be an integer, got 1.5"),
    ):
        with pytest.raises(TypeError, match=match):
            torch_ebm.draw_noise(noise, x, n_noise)


@pytest.mark.parametrize("shape", [(4, 2), (5, 1, 2), (4, 0, 2), (4, 3, 3), (4,)])
def test_negative_samples_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="model_noise: negative_samples must have shape"):
        torch_ebm.model_noise(lambda y: y.sum(1), torch.zeros(4, 2), torch.zeros(shape))
