"""log Z of lattices, by a transfer matrix."""

import math

import pytest
import torch

import torch_ebm
from known_values import case

inf = math.inf


def random_lattice(length, width, q, periodic=(False, False), seed=1, scale=1.0):
    """Energies of sites, along the length and across the width."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return scale * torch.randn(*size, generator=generator, dtype=torch.float64)

    return (
        normal(length, width, q),
        normal(length - (not periodic[0]), width, q, q),
        normal(length, width - (not periodic[1]), q, q),
    )


def enumerated(site, along, across):
    """The same sum, of each state by itself."""
    length, width, q = site.shape
    states = torch.cartesian_prod(*[torch.arange(q)] * (length * width)).view(-1, length, width)
    energy = torch.zeros(len(states), dtype=torch.float64)
    for l in range(length):
        for w in range(width):
            here = states[:, l, w]
            energy = energy + site[l, w, here]
            if l < along.shape[0]:
                energy = energy + along[l, w, here, states[:, (l + 1) % length, w]]
            if w < across.shape[1]:
                energy = energy + across[l, w, here, states[:, l, (w + 1) % width]]
    return torch.logsumexp(-energy, 0)


def ising_values(name):
    """(beta, field, log Z) of every one that is stored."""
    known = case(name)
    for key in known.scalars():
        if key.startswith("logZ["):
            values = dict(part.split("=") for part in key[5:-1].split(","))
            yield float(values["beta"]), float(values.get("h", 0.0)), known[key]


def check_ising(name, size, periodic):
    for beta, field, expected in ising_values(name):
        log_z = torch_ebm.ising_log_z(beta, beta * field, size=size, periodic=periodic)
        assert log_z.item() == pytest.approx(expected, rel=1e-12, abs=1e-12), (beta, field)


@pytest.mark.parametrize(
    "name", ["ising_strip_20x5_fp", "ising_strip_6x6_ff", "ising_strip_8x4_pf"]
)
def test_ising_strips_equal_the_stored(name):
    p = case(name).params
    check_ising(name, (p["rows"], p["cols"]), (p["periodic_rows"], p["periodic_cols"]))


@pytest.mark.parametrize(
    "name", ["3x3_free", "3x4_free", "4x4_free", "3x3_periodic", "4x4_periodic"]
)
def test_small_ising_lattices_equal_the_stored_densities_of_states(name):
    p = case(f"ising_{name}").params
    check_ising(f"ising_{name}", (p["rows"], p["cols"]), (p["periodic"],) * 2)


@pytest.mark.parametrize("side", [3, 4, 6, 8])
def test_ising_tori_equal_the_formula_of_kaufman(side):
    check_ising(f"ising_torus_{side}x{side}_kaufman", (side, side), (True, True))


@pytest.mark.parametrize("n", [5, 12, 100])
def test_ising_rings_equal_their_closed_form(n):
    check_ising(f"ising_ring_{n}", (n, 1), (True, False))
    check_ising(f"ising_ring_{n}", (1, n), (False, True))


def potts_tables(beta, shape, periodic):
    length, width, q = shape
    agree = -beta * torch.eye(q, dtype=torch.float64)
    return (
        torch.zeros(shape, dtype=torch.float64),
        agree.expand(length - (not periodic), width, q, q),
        agree.expand(length, width - (not periodic), q, q),
    )


@pytest.mark.parametrize(
    "name", ["potts_q3_3x3_periodic", "potts_q3_3x4_free", "potts_q4_3x3_free"]
)
def test_potts_lattices_equal_the_stored(name):
    known = case(name)
    p = known.params
    shape = (p["rows"], p["cols"], p["q"])
    for key in (key for key in known.scalars() if key.startswith("logZ")):
        value = math.log(1 + math.sqrt(3)) if "1.00505" in key else float(key[10:-1])
        beta = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        log_z = torch_ebm.lattice_log_z(*potts_tables(beta, shape, p["periodic"]))
        assert log_z.item() == pytest.approx(known[key], rel=1e-12)
        (agreements,) = torch.autograd.grad(log_z, beta)
        assert agreements.item() == pytest.approx(known[key.replace("logZ", "mean_agree")])


def glass(name, beta):
    """Tables of spins with the couplings J and fields h of the case, and those as leaves."""
    known = case(name)
    rows, cols, periodic = (known.params[k] for k in ("rows", "cols", "periodic"))
    j = known.array("J").requires_grad_()
    h = known.array("h").requires_grad_()
    spin = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    number = torch.arange(rows * cols).view(rows, cols)
    down, right = number.roll(-1, 0), number.roll(-1, 1)
    last = (slice(None), slice(None)) if periodic else (slice(-1), slice(-1))
    bond = -beta * spin[:, None] * spin
    along = j[number, down][last[0]][..., None, None] * bond
    across = j[number, right][:, last[1]][..., None, None] * bond
    return (-beta * h.view(rows, cols, 1) * spin, along, across), (j, h)


@pytest.mark.parametrize("name", ["glass_4x4_gauss_s102", "glass_4x4_pm_s101"])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_spin_glasses_and_their_marginals_equal_the_stored(name, beta):
    known = case(name)
    tables, (j, h) = glass(name, beta)
    log_z = torch_ebm.lattice_log_z(*tables)
    assert log_z.item() == pytest.approx(known[f"logZ[beta={beta:g}]"], rel=1e-12)
    of_j, of_h = torch.autograd.grad(log_z, (j, h))
    means = known.array(f"mean_s_beta{beta:g}")
    torch.testing.assert_close(of_h / beta, means, rtol=0, atol=1e-10)
    correlations = known.array(f"corr_ss_beta{beta:g}")
    coupled = of_j != 0
    assert coupled.sum() == (32 if known.params["periodic"] else 24)
    torch.testing.assert_close(of_j[coupled] / beta, correlations[coupled], rtol=0, atol=1e-10)


PERIODIC = [(False, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize("periodic", PERIODIC)
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (2, 2), (2, 3), (4, 2), (3, 3)])
@pytest.mark.parametrize("q", [1, 2, 3])
def test_any_energies_on_any_lattice_equal_the_enumeration(size, periodic, q):
    if size == (3, 3) and q == 3:
        size = (3, 2)
    tables = random_lattice(*size, q, periodic)
    torch.testing.assert_close(torch_ebm.lattice_log_z(*tables), enumerated(*tables))


def test_of_site_tables_that_differ_the_gradients_are_probabilities():
    tables = [t.requires_grad_() for t in random_lattice(3, 3, 2, (True, False))]
    gradients = torch.autograd.grad(torch_ebm.lattice_log_z(*tables), tables)
    expected = torch.autograd.grad(enumerated(*tables), tables)
    for one, other, dims in zip(gradients, expected, [(2,), (2, 3), (2, 3)], strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(-one.sum(dims), torch.ones_like(one.sum(dims)))


@pytest.mark.parametrize("n, n_sets", [(3, 63), (4, 1234), (5, 55447), (6, 5598861)])
@pytest.mark.parametrize("transposed", [False, True])
def test_forbidden_pairs_count_the_independent_sets_of_a_grid(n, n_sets, transposed):
    # Numbers of independent vertex sets of the n x n grid, OEIS A006506.
    neither = torch.tensor([[0.0, 0.0], [0.0, inf]], dtype=torch.float64)
    site = torch.zeros(n, n, 2, dtype=torch.float64, requires_grad=True)
    along, across = neither.expand(n - 1, n, 2, 2), neither.expand(n, n - 1, 2, 2)
    log_z = torch_ebm.lattice_log_z(site, along, across)
    assert log_z.exp().item() == pytest.approx(n_sets, rel=1e-12)
    (gradient,) = torch.autograd.grad(log_z, site)
    torch.testing.assert_close(-gradient.sum(2), torch.ones(n, n, dtype=torch.float64))
    assert torch.equal(gradient, gradient.nan_to_num())


def test_forbidden_pairs_on_a_torus_leave_finite_gradients():
    neither = torch.tensor([[0.0, 0.0], [0.0, inf]], dtype=torch.float64).expand(4, 4, 2, 2)
    site = torch.zeros(4, 4, 2, dtype=torch.float64, requires_grad=True)
    log_z = torch_ebm.lattice_log_z(site, neither, neither)
    assert log_z.exp().item() == pytest.approx(743)  # OEIS A027683
    (gradient,) = torch.autograd.grad(log_z, site)
    torch.testing.assert_close(gradient, gradient[0, 0].expand(4, 4, 2))


def test_energies_of_thousands_lose_nothing():
    tables = random_lattice(3, 3, 2, seed=4, scale=5000.0)
    log_z, expected = torch_ebm.lattice_log_z(*tables), enumerated(*tables)
    assert log_z.item() == pytest.approx(expected.item(), rel=1e-14)
    # The way through an unlikely state that the rest makes the only one.
    site = torch.tensor([[[0.0, 3000.0]], [[0.0, 0.0]]], dtype=torch.float64)
    only = torch.tensor([[inf, inf], [0.0, 1000.0]], dtype=torch.float64).view(1, 1, 2, 2)
    none = torch.zeros(2, 0, 2, 2, dtype=torch.float64)
    assert torch_ebm.lattice_log_z(site, only, none).item() == -3000.0


def test_a_long_strip_costs_its_length_and_no_range_is_left():
    log_z = torch_ebm.ising_log_z(1.0, size=(3, 2000), periodic=(False, False))
    free_chain_bound = 3 * 1999 + 2 * 2000  # all bonds agree
    assert free_chain_bound < log_z.item() < free_chain_bound + 6000 * math.log(2)


def test_ising_gradients_are_the_mean_bonds_and_spins():
    known = case("ising_3x3_periodic")
    beta = 0.44
    coupling = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    field = torch.tensor(beta * 0.2, dtype=torch.float64, requires_grad=True)
    log_z = torch_ebm.ising_log_z(coupling, field, size=(3, 3))
    bonds, spins = torch.autograd.grad(log_z, (coupling, field))
    log_weights = (
        coupling.detach() * known.array("dos_B") + field.detach() * known.array("dos_M")
    ) + known.array("dos_count").log()
    law = torch.softmax(log_weights, 0)
    assert bonds.item() == pytest.approx((law @ known.array("dos_B")).item())
    assert spins.item() == pytest.approx((law @ known.array("dos_M")).item())


def test_single_precision_is_summed_in_double():
    tables = random_lattice(3, 2, 2)
    log_z = torch_ebm.lattice_log_z(*(t.float() for t in tables))
    assert log_z.dtype == torch.float64
    expected = enumerated(*(t.float().double() for t in tables))
    assert log_z.item() == pytest.approx(expected.item(), rel=1e-13)


def test_nan_passes_through():
    site, along, across = random_lattice(3, 2, 2)
    site[1, 1, 0] = math.nan
    assert torch_ebm.lattice_log_z(site, along, across).isnan()


REFUSED = [
    ({"site": (3, 2)}, "site_energy must have shape (L, W, Q), none of them 0, got (3, 2)"),
    ({"site": (3, 0, 2)}, "site_energy must have shape (L, W, Q), none of them 0, got (3, 0, 2)"),
    (
        {"along": (1, 2, 2, 2)},
        "along must have shape (2, 2, 2, 2), or where it is periodic (3, 2, 2, 2),"
        " got (1, 2, 2, 2)",
    ),
    (
        {"across": (3, 2, 2, 3)},
        "across must have shape (3, 1, 2, 2), or where it is periodic (3, 2, 2, 2),"
        " got (3, 2, 2, 3)",
    ),
]


@pytest.mark.parametrize("changed, message", REFUSED)
def test_wrong_shapes_are_named(changed, message):
    shapes = {"site": (3, 2, 2), "along": (2, 2, 2, 2), "across": (3, 1, 2, 2), **changed}
    with pytest.raises(ValueError) as error:
        torch_ebm.lattice_log_z(*(torch.zeros(s) for s in shapes.values()))
    assert f"lattice_log_z: {message}" in str(error.value)


def test_lattices_that_are_too_large_are_refused():
    with pytest.raises(ValueError, match=r"lattice_log_z: at most 2\^24 states .* got 2\^26"):
        torch_ebm.ising_log_z(0.1, size=(13, 13))
    with pytest.raises(ValueError, match=r"got 2\^25"):
        torch_ebm.ising_log_z(0.1, size=(25, 30), periodic=(False, False))
    with pytest.raises(ValueError, match=r"ising_log_z: size must be .* got \(0, 3\)"):
        torch_ebm.ising_log_z(0.1, size=(0, 3))


def test_other_dtypes_are_refused():
    site, along, across = random_lattice(2, 2, 2)
    with pytest.raises(TypeError, match="lattice_log_z: along must have the dtype of site_energy"):
        torch_ebm.lattice_log_z(site, along.float(), across)
    with pytest.raises(TypeError, match="lattice_log_z: site_energy must have a floating dtype"):
        torch_ebm.lattice_log_z(site.long(), along, across)


@pytest.mark.parametrize("periodic", PERIODIC)
def test_the_ising_operator_is_differentiable_scripted_and_compiles(periodic):
    function = torch.ops.torch_ebm.ising_log_z
    arguments = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.4, 0.1)]
    torch.library.opcheck(function.default, (*arguments, [3, 2]), {"periodic": list(periodic)})
    assert torch.autograd.gradgradcheck(
        lambda *t: function(*t, [3, 2], periodic=list(periodic)), arguments
    )

    @torch.jit.script
    def scripted(coupling: torch.Tensor, periodic: list[bool]):
        return torch.ops.torch_ebm.ising_log_z(coupling, None, [3, 2], periodic=periodic)

    expected = torch_ebm.ising_log_z(0.4, size=(3, 2), periodic=periodic)
    assert torch.equal(scripted(arguments[0], list(periodic)), expected)


@pytest.mark.parametrize("size", [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 2), (7, 2), (8, 2)])
@pytest.mark.parametrize("periodic_width", [False, True])
def test_equal_rows_take_powers_of_their_matrix(size, periodic_width):
    # Asymmetric energies, of three states.
    length, width = size
    row = random_lattice(1, width, 2, (True, periodic_width), seed=7)
    tables = [t.expand(length, *t.shape[1:]) for t in row]
    expected = enumerated(*tables)
    torch.testing.assert_close(torch_ebm.lattice_log_z(*tables), expected, rtol=1e-13, atol=0)
    leaves = [t.clone().requires_grad_() for t in tables]  # as rows of their own
    torch.testing.assert_close(torch_ebm.lattice_log_z(*leaves), expected, rtol=1e-13, atol=0)


def test_powers_and_steps_agree_where_ranges_are_too_wide_for_powers():
    for scale, tolerance in [(20.0, 1e-13), (60.0, 1e-13), (3000.0, 1e-13)]:
        row = random_lattice(1, 3, 2, (True, True), seed=8, scale=scale)
        tables = [t.expand(3, *t.shape[1:]) for t in row]
        log_z, expected = torch_ebm.lattice_log_z(*tables), enumerated(*tables)
        torch.testing.assert_close(log_z, expected, rtol=tolerance, atol=0)


def test_a_torus_of_ten_takes_a_moment_and_has_onsagers_limit_nearby():
    log_z = torch_ebm.ising_log_z(0.3, size=(10, 10))
    angle = (torch.arange(2000, dtype=torch.float64) + 0.5) * (math.pi / 2000)
    k = 2 * math.sinh(0.6) / math.cosh(0.6) ** 2
    inner = (1 + (1 - (k * angle.sin()).square()).sqrt()) / 2
    per_site = math.log(2 * math.cosh(0.6)) + inner.log().mean().item() / 2
    assert log_z.item() / 100 == pytest.approx(per_site, abs=1e-4)
