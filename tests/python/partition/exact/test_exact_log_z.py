"""log Z by enumeration."""

import math

import pytest
import torch

import torch_ebm
from energies import FullyVisible, ising_energy
from known_values import all_states, case, make_rbm, random_rbm

RBMS = [
    "rbm_4x3_s10",
    "rbm_6x4_s11",
    "rbm_12x8_s12",
    "rbm_16x12_s13",
    "rbm_20x10_s14",
    "rbm_100x14_s15",
    "rbm_784x16_s16",
    "rbm_cd_5x3_s20",
    "rbm_cd_6x5_s21",
    "ais_rbm_6x4_s30",
    "ais_rbm_7x5_s31",
    "digits_rbm64x12_s900",
    "digits_rbm64x8_s901",
]
SMALL_RBMS = ["rbm_4x3_s10", "rbm_6x4_s11", "rbm_12x8_s12", "rbm_16x12_s13"]


@pytest.mark.parametrize("name", RBMS)
def test_log_z_of_an_rbm_equals_the_stored(name):
    known = case(name)
    assert known.rbm().log_z().item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)


@pytest.mark.parametrize("name", ["rbm_16x12_s13", "rbm_100x14_s15"])
def test_log_z_sums_over_whichever_layer_is_smaller(name):
    known = case(name)
    swapped = make_rbm(known.array("W").T, known.array("c"), known.array("b"))
    assert swapped.log_z().item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)


def test_parameters_in_single_precision_are_summed_in_double():
    known = case("rbm_16x12_s13")
    log_z = known.rbm(torch.float32).log_z()
    assert log_z.dtype == torch.float64
    assert log_z.item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)


@pytest.mark.parametrize(
    "name",
    ["rbm_12x8_s12", "rbm_16x12_s13", "rbm_20x10_s14", "rbm_100x14_s15", "digits_rbm64x8_s901"],
)
def test_gradient_of_log_z_is_the_mean_statistics(name):
    known = case(name)
    rbm = known.rbm()
    rbm.log_z().backward()
    for parameter, stored in (
        (rbm.weight, "mean_vh"),
        (rbm.visible_bias, "mean_v"),
        (rbm.hidden_bias, "mean_h"),
    ):
        torch.testing.assert_close(parameter.grad, known.array(stored), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["rbm_cd_5x3_s20", "rbm_cd_6x5_s21"])
def test_gradient_of_the_exact_likelihood_equals_the_stored(name):
    known = case(name)
    rbm = known.rbm()
    (rbm(known.array("data")).mean() + rbm.log_z()).backward()
    for parameter, letter in zip(rbm.parameters(), "Wbc"):
        stored = known.array(f"ml_grad_{letter}")  # the direction of ascent
        torch.testing.assert_close(-parameter.grad, stored, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", SMALL_RBMS)
def test_data_log_likelihood_equals_the_stored(name):
    known = case(name)
    rbm = known.rbm()
    log_likelihood = -rbm(known.array("data")).mean() - rbm.log_z()
    assert log_likelihood.item() == pytest.approx(known["data_mean_loglik"], abs=1e-10)


@pytest.mark.parametrize("script", [False, True])
@pytest.mark.parametrize("name", SMALL_RBMS)
def test_any_energy_is_enumerated(name, script):
    known = case(name)
    energy = torch.jit.script(known.rbm()) if script else known.rbm()
    log_z = torch_ebm.exact_log_z(energy, known.params["nv"], dtype=torch.float64)
    assert log_z.item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)
    assert log_z.dtype == torch.float64 and not log_z.requires_grad


@pytest.mark.parametrize("name", ["fvbm_n4_s1", "fvbm_n10_s2", "fvbm_n16_s3"])
def test_log_z_of_a_fully_visible_machine_equals_the_stored(name):
    known = case(name)
    energy = FullyVisible(known.array("W"), known.array("b"))
    log_z = torch_ebm.exact_log_z(energy, known.params["n"], dtype=torch.float64)
    assert log_z.item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)


@pytest.mark.parametrize("name", ["kernels_ising_3x3_f_b0.6_h0.1", "kernels_ising_3x3_p_b0.3_h0"])
def test_log_z_of_an_ising_model_equals_the_sum_of_the_stored_densities(name):
    known = case(name)
    energy = ising_energy(known.array("J"), known.params["h"], known.params["beta"])
    log_z = torch_ebm.exact_log_z(energy, 9, dtype=torch.float64)
    assert log_z.item() == pytest.approx(torch.logsumexp(known.array("logf"), 0).item(), abs=1e-10)


@pytest.mark.parametrize("n_visible, n_hidden", [(1, 1), (3, 20), (17, 40), (200, 2)])
def test_zero_weights_have_a_closed_form(n_visible, n_hidden):
    b, c = torch.randn(n_visible).double(), torch.randn(n_hidden).double()
    rbm = make_rbm(torch.zeros(n_visible, n_hidden), b, c)
    expected = torch.log1p(b.exp()).sum() + torch.log1p(c.exp()).sum()
    assert rbm.log_z().item() == pytest.approx(expected.item(), rel=1e-12)


def test_every_state_is_visited_once():
    seen = []

    def energy(x):
        seen.append(x)
        return x.sum(1)

    log_z = torch_ebm.exact_log_z(energy, 15)
    assert max(len(x) for x in seen) <= 16384
    torch.testing.assert_close(torch.cat(seen), all_states(15, torch.float32))
    assert log_z.item() == pytest.approx(15 * math.log1p(math.exp(-1)), rel=1e-6)


@pytest.mark.parametrize("shift", [7.5, -2000.0, 1e6])
def test_a_constant_added_to_the_energy_shifts_log_z(shift):
    rbm = random_rbm(6, 4, 1.0, seed=81)
    log_z = torch_ebm.exact_log_z(lambda x: rbm(x) + shift, 6, dtype=torch.float64)
    assert log_z.item() == pytest.approx(rbm.log_z().item() - shift, rel=1e-12, abs=1e-10)


def test_forbidden_states_count_nothing():
    log_z = torch_ebm.exact_log_z(lambda x: torch.where(x.sum(1) > 1, torch.inf, 0.0), 6)
    assert log_z.item() == pytest.approx(math.log(7))


def potts_energy(couplings, fields):
    """-sum_i h_i(s_i) - sum_(i<j) J_ij(s_i, s_j) of one-hot states; `couplings` (n, n, q, q)."""

    def energy(x):
        pairs = torch.einsum("nia,ijab,njb->nij", x, couplings, x)
        return -(x * fields).sum((1, 2)) - pairs.triu(1).sum((1, 2))

    return energy


def test_one_hot_states_are_enumerated():
    known = case("potts_dca_n5_q4_s111")
    energy = potts_energy(known.array("J"), known.array("h"))
    log_z = torch_ebm.exact_log_z(energy, 5, 4, dtype=torch.float64)
    assert log_z.item() == pytest.approx(known["logZ"], rel=0, abs=1e-10)


@pytest.mark.parametrize("name", ["potts_q3_3x3_periodic", "potts_q3_3x4_free"])
def test_potts_lattices_equal_the_stored(name):
    known = case(name)
    p = known.params
    number = torch.arange(p["rows"] * p["cols"]).view(p["rows"], p["cols"])
    bonds = [
        (number[:-1], number[1:]),
        (number[:, :-1], number[:, 1:]),
        *([(number[-1], number[0]), (number[:, -1], number[:, 0])] if p["periodic"] else []),
    ]
    key = next(key for key in known.scalars() if key.startswith("logZ"))

    def energy(x):
        agree = sum((x[:, i.flatten()] * x[:, j.flatten()]).sum((1, 2)) for i, j in bonds)
        return -float(key[10:-1]) * agree

    log_z = torch_ebm.exact_log_z(energy, number.numel(), p["q"], dtype=torch.float64)
    assert log_z.item() == pytest.approx(known[key], rel=0, abs=1e-10)


def test_every_one_hot_state_is_visited_once():
    seen = []

    def energy(x):
        seen.append(x)
        return x[..., 0].sum(1)

    log_z = torch_ebm.exact_log_z(energy, 9, 3)
    x = torch.cat(seen)
    assert x.shape == (3**9, 9, 3) and x.dtype == torch.float32 and max(map(len, seen)) <= 16384
    assert (x.sum(2) == 1).all() and len(x.argmax(2).unique(dim=0)) == 3**9
    assert log_z.item() == pytest.approx(9 * math.log(2 + math.exp(-1)), rel=1e-6)


@pytest.mark.parametrize(
    "n_units, n_categories, message",
    [
        (3, 1, "n_categories must be between 2 and 2^25, got 1"),
        (1, 2**62, f"n_categories must be between 2 and 2^25, got {2**62}"),
        (13, 4, "n_categories^n_units must be at most 2^25, got 4^13; use AIS for more"),
        (0, 4, "n_units must be between 1 and 25, got 0"),
    ],
)
def test_too_many_states_are_refused(n_units, n_categories, message):
    with pytest.raises(ValueError) as error:
        torch_ebm.exact_log_z(lambda x: x.sum((1, 2)), n_units, n_categories)
    assert f"exact_log_z: {message}" in str(error.value)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("n_hidden", [1, 5, 6, 7, 9])
def test_log_z_of_an_rbm_equals_that_by_enumeration(n_hidden, scale):
    # Six units of the smaller layer and the rest are summed apart; large weights in another way.
    rbm = random_rbm(10, n_hidden, scale, seed=6)
    expected = torch_ebm.exact_log_z(rbm, 10, dtype=torch.float64)
    assert rbm.log_z().item() == pytest.approx(expected.item(), rel=1e-12)


def test_second_derivatives_of_log_z_are_covariances():
    rbm = random_rbm(8, 7, 1.0, seed=7)
    (first,) = torch.autograd.grad(rbm.log_z(), rbm.visible_bias, create_graph=True)
    second = torch.stack(
        [torch.autograd.grad(g, rbm.visible_bias, retain_graph=True)[0] for g in first]
    )
    x = all_states(8)
    law = torch.softmax(-rbm(x).detach(), 0)
    covariance = (x.T * law) @ x - (law @ x)[:, None] * (law @ x)
    torch.testing.assert_close(second, covariance, rtol=0, atol=1e-10)


def test_states_have_the_dtype_of_the_model():
    for dtype in (torch.float32, torch.float64):
        rbm = random_rbm(4, 3, 1.0, seed=4, dtype=dtype)
        torch.testing.assert_close(
            torch_ebm.exact_log_z(rbm, 4), rbm.log_z(), rtol=1e-6, atol=1e-6
        )
    seen = []
    torch_ebm.exact_log_z(lambda x: seen.append(x.dtype) or x.sum(1), 2)
    assert seen == [torch.get_default_dtype()]
