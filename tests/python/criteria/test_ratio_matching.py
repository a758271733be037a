"""What is particular to ratio matching; test_criteria.py holds what all criteria must pass."""

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Network
from known_values import all_states, case, data_of, seeded
from statistical_checks import check_mean


def naive(energy, x):
    """Hyvarinen (2007, equation 17): the sum over the units of g(p(x) / p(x^i))^2."""
    total = torch.zeros(len(x), dtype=x.dtype)
    for i in range(x.shape[1]):
        flipped = x.clone()
        flipped[:, i] = 1 - flipped[:, i]
        ratio = torch.exp(energy(flipped) - energy(x))
        total = total + (1 / (1 + ratio)) ** 2
    return total


def test_equals_its_definition():
    energy, x = Network(6, torch.float64), all_states(6)
    for options in ({}, {"chunk_size": 100}):
        value = torch_ebm.ratio_matching(energy, x, reduction="none", **options)
        torch.testing.assert_close(value, naive(energy, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["fvbm_n4_s1", "fvbm_n10_s2", "fvbm_n16_s3"])
@pytest.mark.parametrize("theta, which", [("theta", ""), ("theta2", "2")])
def test_known_values_and_gradients(name, theta, which):
    model = case(name)
    energy = FullyVisible(model.array("W" + which), model.array("b" + which))
    value = torch_ebm.ratio_matching(energy, model.array("data"))
    assert value.item() == pytest.approx(model[f"ratio_matching[{theta}]"], rel=1e-12)
    of_weight, of_bias = torch.autograd.grad(value, [energy.weight, energy.bias])
    torch.testing.assert_close(of_bias, model.array(f"grad_ratio_matching_b_{theta}"))
    symmetric = of_weight + of_weight.T
    symmetric.fill_diagonal_(0)
    torch.testing.assert_close(symmetric, model.array(f"grad_ratio_matching_W_{theta}"))


@pytest.mark.parametrize("name", ["rbm_6x4_s11", "rbm_12x8_s12", "rbm_100x14_s15"])
def test_known_values_of_rbms(name):
    model = case(name)
    value = torch_ebm.ratio_matching(model.rbm(), model.array("data"))
    assert value.item() == pytest.approx(model["data_ratio_matching"], rel=1e-12)


@pytest.mark.parametrize("name", ["fvbm_optimum_n5_s4", "lsat6_fvbm"])
def test_the_gradient_vanishes_at_the_known_optimum(name):
    model = case(name)
    energy = FullyVisible(model.array("W_opt_ratio_matching"), model.array("b_opt_ratio_matching"))
    value = torch_ebm.ratio_matching(energy, **data_of(model))
    assert value.item() == pytest.approx(model["opt_ratio_matching"], rel=1e-12)
    value.backward()
    off_diagonal = 1 - torch.eye(5, dtype=torch.float64)
    assert (energy.weight.grad * off_diagonal).abs().max() < 1e-10
    assert energy.bias.grad.abs().max() < 1e-10


def test_random_units_are_without_bias():
    energy, x = Network(5, torch.float64), all_states(5)[[3, 17, 30]]
    generator = seeded(6)
    estimates = [
        torch_ebm.ratio_matching(
            energy, x, n_sites=2, reduction="none", generator=generator
        ).detach()
        for _ in range(3000)
    ]
    check_mean(torch.stack(estimates), naive(energy, x).detach(), what="estimate")


def test_bad_input():
    energy, x = Network(4, torch.float64), all_states(4)
    with pytest.raises(ValueError, match="ratio_matching: x must"):
        torch_ebm.ratio_matching(energy, x * 2)
    with pytest.raises(ValueError, match="ratio_matching: n_sites must be between 1 and 4, got 9"):
        torch_ebm.ratio_matching(energy, x, n_sites=9)
    for model in (energy, torch_ebm.RBM(4, 3, dtype=torch.float64)):
        with pytest.raises(ValueError, match="ratio_matching: chunk_size must be at least 1"):
            torch_ebm.ratio_matching(model, x, chunk_size=-1)


def test_an_example_of_weight_0_does_not_count():
    x = torch.tensor([[0.0], [1.0]])
    energy = lambda y: torch.where(y[:, 0] == 0, torch.nan, 0.0)  # noqa: E731
    assert (
        torch_ebm.maximum_likelihood(energy, x, log_z=0.0, weights=torch.tensor([0.0, 1.0])).item()
        == 0
    )
