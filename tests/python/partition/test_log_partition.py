"""log Z as a differentiable quantity."""

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Network
from known_values import all_states, case, exact_samples, random_rbm
from statistical_checks import check_mean


def gradients(energy):
    return torch.cat([p.grad.flatten() for p in energy.parameters()])


def test_value_without_an_estimate_is_the_negative_mean_energy():
    energies = torch.randn(7)
    value = torch.ops.torch_ebm.log_partition(energies)
    torch.testing.assert_close(value, -energies.mean())


@pytest.mark.parametrize("log_z", [3.25, torch.tensor(3.25, dtype=torch.float64)])
def test_value_with_an_estimate_is_the_estimate_and_the_gradient_the_negative_phase(log_z):
    energy, negative = Network(3), torch.randn(6, 3)
    value = torch_ebm.log_partition(energy, negative, log_z)
    assert value.item() == 3.25 and value.dtype == torch.float64
    value.backward()
    with_estimate = gradients(energy)
    energy.zero_grad()
    (-energy(negative).mean()).backward()
    torch.testing.assert_close(with_estimate, gradients(energy))


@pytest.mark.parametrize("log_z", [None, 3.25])
def test_weights_take_the_place_of_the_mean(log_z):
    energy, negative = Network(3), torch.randn(4, 3)
    weights = torch.tensor([0.5, 0.5, 0.5, -0.5], dtype=torch.float64, requires_grad=True)
    value = torch_ebm.log_partition(energy, negative, log_z, weights)
    value.backward()
    weighted = gradients(energy)
    energy.zero_grad()
    expected = -(weights.detach().float() * energy(negative)).sum()
    expected.backward()
    torch.testing.assert_close(weighted, gradients(energy))
    assert value.item() == pytest.approx(expected.item() if log_z is None else log_z)
    assert weights.grad is None


def test_equal_weights_are_the_mean():
    energies = torch.randn(5, dtype=torch.float64)
    op = torch.ops.torch_ebm.log_partition
    fifths = torch.full((5,), 0.2, dtype=torch.float64)
    torch.testing.assert_close(op(energies, None, fifths), op(energies))


def test_samples_get_no_gradient():
    negative = torch.randn(6, 3, requires_grad=True)
    torch_ebm.log_partition(Network(3), negative).backward()
    assert negative.grad is None


def test_gradient_over_all_states_weighted_by_their_law_is_that_of_log_z():
    rbm = random_rbm(5, 4, 1.0, seed=71)
    states = all_states(5)
    law = torch.softmax(-rbm(states), 0).detach()
    weighted = torch.autograd.grad(-(law * rbm(states)).sum(), list(rbm.parameters()))
    exact = torch.autograd.grad(rbm.log_z(), list(rbm.parameters()))
    for one, other in zip(weighted, exact):
        torch.testing.assert_close(one, other)


def test_expected_gradient_of_the_loss_at_the_truth_is_zero():
    # Data and negative samples both follow the model: every per-sample gradient has the same mean.
    known = case("kernels_fvbm_n6_s60")
    energy = FullyVisible(known.array("W"), known.array("b"))
    n_batches, n = 2000, 50
    data = exact_samples(known.array("probs"), n_batches * n, 6, seed=72).view(n_batches, n, 6)
    negative = exact_samples(known.array("probs"), n_batches * n, 6, seed=73).view(n_batches, n, 6)
    per_batch = []
    for positive, fantasy in zip(data, negative):
        loss = energy(positive).mean() + torch_ebm.log_partition(energy, fantasy)
        grad_weight, grad_bias = torch.autograd.grad(loss, list(energy.parameters()))
        upper = grad_weight[tuple(torch.triu_indices(6, 6, 1))]
        per_batch.append(torch.cat([upper, grad_bias]))
    check_mean(torch.stack(per_batch), torch.zeros(21), what="gradient at the truth")


def test_nan_comes_through():
    energies = torch.tensor([1.0, float("nan")])
    assert torch_ebm.log_partition(lambda x: x.sum(1), energies[:, None]).isnan()
    assert torch.ops.torch_ebm.log_partition(energies).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_single(dtype):
    energies = torch.full((4096,), 1.0, dtype=dtype, requires_grad=True)
    value = torch.ops.torch_ebm.log_partition(energies)
    assert value.dtype == torch.float32 and value.item() == -1
    value.backward()
    assert energies.grad.dtype == dtype


def test_the_value_is_log_z_however_large_the_energies():
    energies = torch.tensor([3e7, 5e7], requires_grad=True)
    value = torch.ops.torch_ebm.log_partition(energies, torch.tensor(0.3))
    assert value == torch.tensor(0.3)
    assert torch.equal(torch.autograd.grad(value, energies)[0], torch.tensor([-0.5, -0.5]))
