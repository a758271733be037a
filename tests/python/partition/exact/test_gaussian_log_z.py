"""log Z of a Gaussian energy."""

import math

import pytest
import torch

import torch_ebm
from known_values import case


@pytest.mark.parametrize("name", ["gauss_d2_s70", "gauss_d10_s71"])
def test_log_z_and_its_gradients_equal_the_stored(name):
    known = case(name)
    precision, mean = known.array("P").requires_grad_(), known.array("mu")
    linear = (precision.detach() @ mean).requires_grad_()
    constant = 0.5 * mean @ precision.detach() @ mean  # of (x - mu) P (x - mu) / 2
    log_z = torch_ebm.gaussian_log_z(precision, linear)
    assert (log_z - constant).item() == pytest.approx(known["logZ"], abs=1e-12)
    assert torch_ebm.gaussian_log_z(precision).item() == pytest.approx(known["logZ"], abs=1e-12)

    of_precision, of_linear = torch.autograd.grad(log_z, (precision, linear))
    torch.testing.assert_close(of_linear, mean, rtol=0, atol=1e-10)
    second_moment = known.array("cov") + mean[:, None] * mean
    torch.testing.assert_close(of_precision, -0.5 * second_moment, rtol=0, atol=1e-10)


def test_one_dimension_has_the_textbook_value():
    log_z = torch_ebm.gaussian_log_z(torch.tensor([[4.0]]), torch.tensor([3.0]))
    assert log_z.dtype == torch.float64 and log_z.shape == ()
    assert log_z.item() == pytest.approx(0.5 * math.log(2 * math.pi / 4) + 9 / 8, abs=1e-14)


def test_only_the_symmetric_part_counts_as_in_the_energy():
    precision = torch.tensor([[2.0, 0.3], [0.3, 1.0]])
    turn = torch.tensor([[0.0, 5.0], [-5.0, 0.0]])
    expected = torch_ebm.gaussian_log_z(precision)
    assert torch_ebm.gaussian_log_z(precision + turn).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    "precision",
    [
        torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
        torch.zeros(2, 2),
        -torch.eye(1),
        torch.full((2, 2), math.nan),
    ],
)
def test_matrices_that_are_not_positive_definite_are_refused(precision):
    with pytest.raises(ValueError, match="gaussian_log_z: the symmetric part of precision must be"):
        torch_ebm.gaussian_log_z(precision)


@pytest.mark.parametrize(
    "precision, linear, message",
    [
        (torch.ones(2, 3), None, "precision must have shape (d, d) with d >= 1, got (2, 3)"),
        (torch.ones(0, 0), None, "precision must have shape (d, d) with d >= 1, got (0, 0)"),
        (torch.ones(4), None, "precision must have shape (d, d) with d >= 1, got (4,)"),
        (torch.eye(2), torch.ones(3), "linear must have shape (d,) = (2,), got (3,)"),
    ],
)
def test_wrong_shapes_are_named(precision, linear, message):
    with pytest.raises(ValueError) as error:
        torch_ebm.gaussian_log_z(precision, linear)
    assert f"gaussian_log_z: {message}" in str(error.value)


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match="gaussian_log_z: precision must have a floating dtype"):
        torch_ebm.gaussian_log_z(torch.eye(2).long())
    with pytest.raises(TypeError, match="gaussian_log_z: linear must have the dtype of precision"):
        torch_ebm.gaussian_log_z(torch.eye(2), torch.ones(2).double())
