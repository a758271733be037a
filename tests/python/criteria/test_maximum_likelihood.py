"""Maximum likelihood as a criterion: exact likelihoods and gradients."""

import pytest
import torch

import torch_ebm
from known_values import all_states, case, random_rbm, seeded


@pytest.fixture
def rbm():
    return random_rbm(4, 3, 1.0, 5)


X = all_states(4)[[0, 3, 3, 9, 14]]


def gradient(loss, rbm):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(rbm.parameters()))])


def test_the_exact_likelihood_and_its_gradient(rbm):
    terms = torch_ebm.maximum_likelihood(rbm, X, log_z=rbm.log_z(), reduction="none")
    log_p = torch.log_softmax(-rbm(all_states(4)), 0)[[0, 3, 3, 9, 14]]
    torch.testing.assert_close(terms, -log_p)
    torch.testing.assert_close(gradient(terms.sum(), rbm), gradient(-log_p.sum(), rbm))


def test_negative_samples_give_the_gradient_of_log_z(rbm):
    """All states, weighted by their probabilities: no sampling noise."""
    states = all_states(4)
    weights = torch.softmax(-rbm(states), 0).detach()
    log_z = rbm.log_z().detach()
    exact = torch_ebm.maximum_likelihood(rbm, X, log_z=rbm.log_z())
    sampled = torch_ebm.maximum_likelihood(
        rbm, X, negative_samples=states, negative_weights=weights, log_z=log_z
    )
    torch.testing.assert_close(sampled, exact)
    torch.testing.assert_close(gradient(sampled, rbm), gradient(exact, rbm))


def test_it_is_the_training_loss_of_log_partition(rbm):
    negative = all_states(4)[torch.randint(16, (30,), generator=seeded(1))]
    for log_z in (None, 1.25, torch.tensor(1.25)):
        value = torch_ebm.maximum_likelihood(rbm, X, negative_samples=negative, log_z=log_z)
        expected = rbm(X).mean() + torch_ebm.log_partition(rbm, negative, log_z)
        torch.testing.assert_close(value, expected, check_dtype=False)
        torch.testing.assert_close(gradient(value, rbm), gradient(expected, rbm))


def test_weights_are_those_of_the_examples_only(rbm):
    states = all_states(4)
    p = torch.softmax(-rbm(states), 0).detach()
    value = torch_ebm.maximum_likelihood(rbm, states, log_z=rbm.log_z(), weights=p)
    torch.testing.assert_close(value, torch.distributions.Categorical(p).entropy())
    assert gradient(value, rbm).abs().max() < 1e-12


def test_known_log_likelihood():
    known = case("rbm_4x3_s10")
    rbm, states = known.rbm(), all_states(4)
    terms = torch_ebm.maximum_likelihood(rbm, states, log_z=known["logZ"], reduction="none")
    assert torch.logsumexp(-terms, 0).abs() < 1e-12


@pytest.mark.parametrize(
    "options, match",
    [
        ({}, "maximum_likelihood: negative_samples or log_z must be given"),
        ({"log_z": torch.zeros(2)}, r"maximum_likelihood: log_z must have shape \(\)"),
        ({"log_z": torch.tensor(1)}, "maximum_likelihood: log_z must have a floating"),
        ({"log_z": 1.0, "negative_weights": torch.ones(2)}, "negative_weights must be left out"),
        ({"negative_samples": all_states(3)}, "negative_samples must have shape"),
        ({"negative_samples": all_states(4)[:0]}, "negative_samples must hold at least one"),
        ({"negative_samples": all_states(4).float()}, "negative_samples must have the dtype of x"),
        ({"negative_samples": all_states(4) / 0}, "negative_samples must be finite"),
        (
            {"negative_samples": all_states(4), "negative_weights": torch.ones(3)},
            "log_partition: weights must have the shape",
        ),
    ],
)
def test_bad_input_is_refused(rbm, options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        torch_ebm.maximum_likelihood(rbm, X, **options)
