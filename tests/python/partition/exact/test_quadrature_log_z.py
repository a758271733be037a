"""log Z by numerical integration."""

import math

import numpy
import pytest
import torch

import torch_ebm
from energies import Gaussian, GaussianMixture
from known_values import case

inf = math.inf


def integrate(energy, low, high, **options):
    return torch_ebm.quadrature_log_z(energy, low, high, dtype=torch.float64, **options)


def check(result, expected, tolerance, border=1e-10):
    assert result.log_z.item() == pytest.approx(expected, rel=0, abs=tolerance)
    assert result.border.item() <= border
    assert abs(result.log_z.item() - expected) <= result.error.item() + 1e-12


@pytest.mark.parametrize("name", ["a1_t0", "a4_t0", "a4_t0.5", "a8_t0.2"])
def test_double_wells_equal_the_stored(name):
    known = case(f"doublewell_{name}")
    a, t = known.params["a"], known.params["t"]
    result = integrate(lambda x: a * (x[:, 0] ** 2 - 1) ** 2 - t * x[:, 0], [-5], [5])
    check(result, known["logZ"], 1e-12)


@pytest.mark.parametrize("kappa", ["0.5", "4"])
def test_an_angle_may_end_with_its_box(kappa):
    known = case(f"vonmises_k{kappa}")
    result = integrate(lambda x: -float(kappa) * x[:, 0].cos(), [-math.pi], [math.pi])
    assert result.log_z.item() == pytest.approx(known["logZ"], rel=0, abs=1e-12)
    # The first point lies within a thousandth of the border.
    assert result.border.item() == pytest.approx(math.exp(-2 * float(kappa)), rel=1e-3)


def test_the_many_well_equals_the_stored():
    def energy(x):
        one, two = x.unbind(1)
        return one**4 - 6 * one**2 - 0.5 * one + 0.5 * two**2

    check(integrate(energy, [-4, -9], [4, 9]), case("manywell_d2")["logZ"], 1e-11)


def test_a_mixture_equals_its_constant():
    known = case("gmm_d2_k5_s72")
    mixture = GaussianMixture(*(known.array(name) for name in ("w", "m", "s")))
    result = integrate(lambda x: mixture(x) - known["logZ"], [-15, -15], [15, 15])
    check(result, 1.5, 1e-11)


def network_energy(known):
    w1, b1, w2, b2, w3 = (known.array(name) for name in ("W1", "b1", "W2", "b2", "w3"))

    def energy(x):
        hidden = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2)
        return 0.5 * known.params["lam"] * x.square().sum(1) - hidden @ w3

    return energy


@pytest.mark.parametrize("d, side, tolerance", [(2, 12, 1e-12), (3, 8, 1e-8)])
def test_networks_equal_the_stored(d, side, tolerance):
    known = case(f"mlp_d{d}_s{74 + d}")
    result = integrate(network_energy(known), [-side] * d, [side] * d)
    check(result, known["logZ"], tolerance, border=1e-9)


def test_a_narrow_curved_ridge_is_resolved_by_more_panels():
    known = case("rosenbrock_a1_b100")

    def energy(x):
        return (x[:, 0] - 1) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2

    few, many = (integrate(energy, [-4, -2], [6, 36], n_panels=n) for n in (8, 64))
    check(many, known["logZ"], 1e-9, border=1e-6)
    assert few.error > 1e-2 > 1e-4 > many.error


def test_the_funnel_in_the_coordinates_of_its_scale_equals_its_closed_form():
    known = case("funnel_d2_sv3")

    def energy(x):  # of v and y = exp(-v / 2) x
        return x[:, 0] ** 2 / 18 + 0.5 * x[:, 1] ** 2

    check(integrate(energy, [-30, -10], [30, 10]), known["logZ"], 1e-12)


def test_the_gaussian_agrees_with_its_closed_form():
    precision = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.5]]).double()
    energy = torch.jit.script(Gaussian(torch.zeros(3).double(), precision))
    result = integrate(energy, [-7, -9, -7], [7, 9, 7], n_panels=3)
    check(result, torch_ebm.gaussian_log_z(precision).item(), 1e-8)


def test_a_box_without_energy_has_its_volume():
    result = integrate(lambda x: 0 * x.sum(1), [0, -1, 2], [2, 2, 4], n_panels=1)
    assert result.log_z.item() == pytest.approx(math.log(12), abs=1e-14)
    assert result.border.item() == 1


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_mass_at_any_one_side_of_the_border_is_told(dimension, sign):
    def energy(x, slope):
        narrow = 200 * (x - 0.5).square()
        return narrow[:, 1 - dimension] + (slope * x if slope else narrow)[:, dimension]

    one, none = (integrate(lambda x: energy(x, slope), [0, 0], [1, 1]) for slope in (30 * sign, 0))
    assert one.border.item() == 1
    assert none.border.item() < 1e-20


def test_the_points_of_a_panel_are_those_of_gauss_and_legendre():
    seen = []

    def energy(x):
        seen.append(x)
        return 0 * x.sum(1)

    integrate(energy, [2], [6], n_panels=2)
    coarse, fine = seen
    for x, n in ((coarse, 8), (fine, 16)):
        points = torch.from_numpy(numpy.polynomial.legendre.leggauss(n)[0])
        torch.testing.assert_close(x[:, 0], torch.cat([3 + points, 5 + points]))


def test_polynomials_of_degree_31_are_integrated_exactly():
    result = integrate(lambda x: -31 * x[:, 0].log(), [0], [1], n_panels=1)
    assert result.log_z.item() == pytest.approx(-math.log(32), abs=1e-13)
    assert result.error.item() > 1e-9  # eight points are exact up to degree 15


def test_forbidden_states_count_nothing():
    def energy(x):
        return torch.where(x[:, 0] > 0.5, inf, 0.0)

    result = integrate(energy, [0], [1], n_panels=2)
    assert result.log_z.item() == pytest.approx(math.log(0.5), abs=1e-14)


def test_states_come_in_batches_of_the_dtype_asked_for():
    seen = []

    def energy(x):
        seen.append(x.shape)
        assert x.dtype == torch.float32
        return x.square().sum(1)

    result = torch_ebm.quadrature_log_z(energy, [-6, -6], [6, 6], n_panels=10)
    assert sum(n for n, _ in seen) == 80**2 + 160**2
    assert max(n for n, _ in seen) == 16384 and all(d == 2 for _, d in seen)
    assert result.log_z.dtype == torch.float64 and not result.log_z.requires_grad
    assert result.log_z.item() == pytest.approx(math.log(math.pi), abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, -inf])
def test_energies_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match="quadrature_log_z: the energy of some state is NaN or"):
        integrate(lambda x: x[:, 0] + bad, [0], [1])


@pytest.mark.parametrize(
    "low, high, n_panels, message",
    [
        ([], [], None, "low must have 1, 2 or 3 numbers, one a dimension, got 0"),
        ([0] * 4, [1] * 4, None, "low must have 1, 2 or 3 numbers, one a dimension, got 4"),
        ([0, 0], [1], None, "high must have as many numbers as low, 2, got 1"),
        ([0, 1], [1, 1], None, "low must be below high, both finite, got 1 and 1 in dimension 1"),
        ([-inf], [1], None, "low must be below high, both finite, got -inf and 1 in dimension 0"),
        ([0], [math.nan], None, "low must be below high, both finite, got 0 and nan"),
        ([0], [1], 0, "n_panels must be between 1 and 65536, got 0"),
        ([0], [1], 65537, "n_panels must be between 1 and 65536, got 65537"),
    ],
)
def test_wrong_arguments_are_named(low, high, n_panels, message):
    def untouched(x):
        raise AssertionError("the energy was called")

    with pytest.raises(ValueError) as error:
        integrate(untouched, low, high, n_panels=n_panels)
    assert f"quadrature_log_z: {message}" in str(error.value)


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match=r"quadrature_log_z: the energy is \+inf at all points"):
        integrate(lambda x: x[:, 0] + inf, [0], [1])
