"""RAISE against exact log-likelihoods of the model and of the annealing model."""

import itertools

import pytest
import torch

import torch_ebm
from torch_ebm.energy.energy import as_argument
from known_values import random_rbm, seeded
from paths import SalakhutdinovMurray
from statistical_checks import check_mean


def states_of(n):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def kernel(weight, visible_bias, hidden_bias, states, hidden_states):
    """The matrix of one block Gibbs step on visible states."""

    def law(logits, bits):
        return torch.exp((bits.unsqueeze(0) * logits.unsqueeze(1)).sum(2)) / (
            1 + logits.exp()
        ).prod(1, keepdim=True)

    up = law(states @ weight + hidden_bias, hidden_states)
    down = law(hidden_states @ weight.t() + visible_bias, states)
    return up @ down


def annealing_law(rbm, base_bias, betas):
    """The law of the last states of annealing with a step at every beta > 0, by propagation."""
    states, hidden = states_of(rbm.n_visible), states_of(rbm.n_hidden)
    path = SalakhutdinovMurray(rbm, base_bias)
    law = torch.softmax(states @ base_bias, 0)
    for beta in betas[1:]:
        law = law @ kernel(*path.at(float(beta)), states, hidden)
    return law.detach()


@pytest.mark.parametrize("generic", [False, True])
def test_it_is_unbiased_for_the_probability_under_the_annealing_model(generic):
    rbm = random_rbm(4, 3, 3.0, seed=1)
    bias = torch.tensor([0.3, -0.5, 0.0, 1.0], dtype=torch.float64)
    betas = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=torch.float64)
    law = annealing_law(rbm, bias, betas)
    model = torch.softmax(-rbm(states_of(4)).detach(), 0)
    assert (law - model).abs().max() > 0.02  # so that the two can be told apart
    x = states_of(4)[[0, 5, 15]].repeat_interleave(4000, 0)
    path = SalakhutdinovMurray(rbm, bias)
    arguments = (path, x, path.base(), path.gibbs_sampler) if generic else (rbm, x)
    log_likelihoods = torch_ebm.raise_log_likelihood(
        *arguments,
        betas=betas,
        n_chains=3,
        base_visible_bias=None if generic else bias,
        batch_size=5000,
        generator=seeded(2),
    )
    for i, estimates in zip([0, 5, 15], log_likelihoods.exp().view(3, 4000)):
        check_mean(estimates / law[i], 1.0, what=f"probability of state {i}")


def test_with_many_temperatures_it_is_the_log_likelihood():
    rbm = random_rbm(8, 5, 2.0, seed=3)
    x = torch_ebm.gibbs(rbm, torch.zeros(200, 8).double(), n_steps=200, generator=seeded(4)).x
    exact = (-rbm(x) - rbm.log_z()).detach()
    estimates = torch_ebm.raise_log_likelihood(rbm, x, betas=1000, generator=seeded(5))
    assert estimates.dtype == torch.float64
    assert abs((estimates - exact).mean()) < 0.02
    coarse = torch_ebm.raise_log_likelihood(rbm, x, betas=3, generator=seeded(6))
    assert coarse.mean() < exact.mean() - 0.05


def test_energies_that_are_nan_are_refused_by_name():
    def energy(x):
        return x.sum(1).masked_fill(x[:, 0] > 0, torch.nan)

    base = torch.distributions.Independent(torch.distributions.Bernoulli(torch.full((2,), 0.5)), 1)
    path = torch_ebm.annealed_energy(energy, base)
    # The operator alone: annealing refuses such states before.
    with pytest.raises(ValueError, match="raise_log_likelihood: the energy of chain 1 is NaN"):
        with as_argument(path) as argument:
            torch.ops.torch_ebm._raised_log_likelihood(
                argument, torch.eye(2).flip(0), torch.zeros(4), torch.zeros(())
            )


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"n_chains": 0}, "raise_log_likelihood: n_chains must be at least 1, got 0"),
        ({"batch_size": 0}, "raise_log_likelihood: batch_size must be at least 1, got 0"),
        ({"x": torch.zeros(0, 4)}, "x must hold at least one example"),
        ({"betas": torch.tensor([0.0, 2.0])}, "betas must rise strictly from 0 to 1"),
        ({"energy": lambda x: x.sum(1)}, "base must be given, unless the energy is an RBM"),
    ],
)
def test_bad_input_is_refused_by_name(changed, text):
    rbm = random_rbm(4, 3, 1.0, seed=7)
    fine = {"energy": rbm, "x": torch.zeros(2, 4, dtype=torch.float64)}
    with pytest.raises(ValueError) as caught:
        torch_ebm.raise_log_likelihood(**{**fine, **changed})
    assert text in str(caught.value)
