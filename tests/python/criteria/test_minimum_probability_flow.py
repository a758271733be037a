"""Minimum probability flow: what is particular to it.
What all criteria must pass stands in test_criteria.py."""

import pytest
import torch
import torch.nn.functional as F

from discrete_kernels import Potts
from energies import FullyVisible, Network
from known_values import all_states, case, seeded
from neighbours import neighbours
from statistical_checks import check_mean
from torch_ebm import minimum_probability_flow

F64 = torch.float64


def definition(energy, x, n_states=0):
    total = torch.zeros(len(x), dtype=F64)
    for other in neighbours(x, n_states):
        total = total + torch.exp((energy(x) - energy(other)) / 2)
    return total


@pytest.mark.parametrize("options", [{}, {"chunk_size": 100}], ids=["whole", "chunks"])
def test_definition(options):
    energy, x = Network(6, F64), all_states(6)
    terms = minimum_probability_flow(energy, x, reduction="none", **options)
    torch.testing.assert_close(terms, definition(energy, x), rtol=1e-10, atol=0)


@pytest.mark.parametrize("options", [{}, {"chunk_size": 3000}], ids=["whole", "chunks"])
def test_definition_of_categories(options):
    model = case("potts_dca_n5_q4_s111")
    energy = Potts(model.array("h"), model.array("J"))
    x = F.one_hot(model.array("data").long(), 4).double()
    terms = minimum_probability_flow(energy, x, categorical=True, reduction="none", **options)
    torch.testing.assert_close(terms, definition(energy, x, 4), rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", ["fvbm_n4_s1", "fvbm_n10_s2", "fvbm_n16_s3"])
@pytest.mark.parametrize("theta, which", [("theta", ""), ("theta2", "2")])
def test_stored_values_and_gradients(name, theta, which):
    model = case(name)
    energy = FullyVisible(model.array("W" + which), model.array("b" + which))
    value = minimum_probability_flow(energy, model.array("data"))
    assert value.item() == pytest.approx(model[f"mpf[{theta}]"], rel=1e-12)
    of_weight, of_bias = torch.autograd.grad(value, [energy.weight, energy.bias])
    torch.testing.assert_close(of_bias, model.array(f"grad_mpf_b_{theta}"))
    symmetric = (of_weight + of_weight.T).fill_diagonal_(0)
    torch.testing.assert_close(symmetric, model.array(f"grad_mpf_W_{theta}"))


@pytest.mark.parametrize("name", ["rbm_4x3_s10", "rbm_6x4_s11", "rbm_12x8_s12"])
def test_stored_values_and_gradients_of_rbms(name):
    model = case(name)
    rbm = model.rbm()
    value = minimum_probability_flow(rbm, model.array("data"))
    assert value.item() == pytest.approx(model["data_mpf"], rel=1e-12)
    parameters = [rbm.weight, rbm.visible_bias, rbm.hidden_bias]
    for key, gradient in zip("Wbc", torch.autograd.grad(value, parameters)):
        torch.testing.assert_close(gradient, model.array(f"grad_mpf_{key}"))


@pytest.mark.parametrize("name", ["fvbm_optimum_n5_s4", "fvbm_optimum_n8_s5"])
def test_the_gradient_vanishes_at_the_stored_optimum(name):
    model = case(name)
    energy = FullyVisible(model.array("W_opt_mpf"), model.array("b_opt_mpf"))
    value = minimum_probability_flow(energy, model.array("data"))
    assert value.item() == pytest.approx(model["opt_mpf"], rel=1e-12)
    of_weight, of_bias = torch.autograd.grad(value, [energy.weight, energy.bias])
    assert (of_weight + of_weight.T).fill_diagonal_(0).abs().max() < 1e-10
    assert of_bias.abs().max() < 1e-10


def test_random_sites_are_without_bias():
    energy, x = Network(5, F64), all_states(5)[[3, 17, 30]]
    generator = seeded(6)
    estimates = [
        minimum_probability_flow(energy, x, n_sites=2, reduction="none", generator=generator)
        for _ in range(3000)
    ]
    check_mean(torch.stack(estimates).detach(), definition(energy, x).detach(), what="estimate")


@pytest.mark.parametrize(
    "change, options, match",
    [
        (lambda x: 2 * x, {}, "x must hold zeros and ones only, got 2"),
        (lambda x: x, {"categorical": True}, "x must .*one"),
        (lambda x: x, {"n_sites": 5}, "n_sites must be between 1 and 4, got 5"),
        (lambda x: x, {"chunk_size": 0}, "chunk_size must be at least 1"),
    ],
)
def test_bad_input_is_refused(change, options, match):
    with pytest.raises(ValueError, match=f"minimum_probability_flow: {match}"):
        minimum_probability_flow(Network(4, F64), change(all_states(4)), **options)
