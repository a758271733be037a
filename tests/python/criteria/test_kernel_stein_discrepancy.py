"""The kernel Stein discrepancy: what is particular to it.
What all criteria must pass stands in test_criteria.py."""

import pytest
import torch

import torch_ebm
from energies import Gaussian
from known_values import seeded
from statistical_checks import check_mean
from torch_ebm import kernel_stein_discrepancy

F64 = torch.float64


def imq(exponent=-0.5):
    return lambda x, y, h: (1 + ((x - y) ** 2).sum() / h**2) ** exponent


def rbf(x, y, h):
    return torch.exp(-((x - y) ** 2).sum() / (2 * h**2))


def stein_kernel(energy, x, kernel, h):
    """u(x_n, x_m), (N, N), a pair at a time, with autograd through the kernel."""
    leaf = x.clone().requires_grad_()
    s = -torch.autograd.grad(energy(leaf).sum(), leaf)[0]
    u = torch.zeros(len(x), len(x), dtype=F64)
    for n in range(len(x)):
        for m in range(len(x)):
            a, b = (x[i].clone().requires_grad_() for i in (n, m))
            k = kernel(a, b, h)
            of_a, of_b = torch.autograd.grad(k, (a, b), create_graph=True)
            trace = sum(
                torch.autograd.grad(of_a[i], b, retain_graph=True)[0][i] for i in range(len(a))
            )
            u[n, m] = (k * (s[n] @ s[m]) + s[n] @ of_b + s[m] @ of_a + trace).detach()
    return u


def median_distance(x):
    return torch.sqrt(torch.pdist(x).square().median()).item()


def example(n=9, d=3):
    generator = seeded(7)
    x = 2 * torch.randn(n, d, generator=generator, dtype=F64) + 5
    torch.manual_seed(3)
    return torch_ebm.MLP([d, 6, 1], confinement=0.3, dtype=F64), x


KERNELS = {
    "imq": ({}, imq()),
    "imq -0.8": ({"exponent": -0.8, "bandwidth": 1.7}, imq(-0.8)),
    "rbf": ({"kernel": "rbf"}, rbf),
    "rbf 0.9": ({"kernel": "rbf", "bandwidth": 0.9}, rbf),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 3])
def test_definition(name, d):
    options, kernel = KERNELS[name]
    energy, x = example(d=d)
    n = len(x)
    u = stein_kernel(energy, x, kernel, options.get("bandwidth") or median_distance(x))
    off_diagonal = u - torch.diag(u.diagonal())
    for statistic, expected in (("v", u.mean(1)), ("u", off_diagonal.sum(1) / (n - 1))):
        rows = kernel_stein_discrepancy(
            energy, x, statistic=statistic, reduction="none", **options
        ).detach()
        torch.testing.assert_close(rows, expected, rtol=1e-10, atol=1e-12)
        value = kernel_stein_discrepancy(energy, x, statistic=statistic, **options).detach()
        torch.testing.assert_close(value, expected.mean(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_weights_are_a_law(statistic):
    energy, x = example(6)
    w = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.25], dtype=F64)
    mass = w[:, None] * w
    if statistic == "u":
        mass = mass - torch.diag(mass.diagonal())
    expected = (mass * stein_kernel(energy, x, imq(), 1.3)).sum() / mass.sum()
    options = {"statistic": statistic, "bandwidth": 1.3, "weights": w}
    value = kernel_stein_discrepancy(energy, x, **options).detach()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    terms = kernel_stein_discrepancy(energy, x, reduction="none", **options).detach()
    torch.testing.assert_close(terms.sum() / w.sum(), value)
    summed = kernel_stein_discrepancy(energy, x, reduction="sum", **options).detach()
    torch.testing.assert_close(terms.sum(), summed)


def test_a_weight_of_two_is_the_example_twice_in_the_v_statistic():
    energy, x = example(5)
    w = torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0], dtype=F64)
    weighted = kernel_stein_discrepancy(energy, x, statistic="v", bandwidth=1.0, weights=w)
    twice = torch.cat([x, x[1:2]])
    torch.testing.assert_close(
        weighted, kernel_stein_discrepancy(energy, twice, statistic="v", bandwidth=1.0)
    )


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_u_statistic_has_mean_zero_at_the_truth_and_the_v_statistic_is_larger(kernel):
    energy = Gaussian(torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64))
    x = torch.randn(3000, 10, 3, generator=seeded(5), dtype=F64)
    options = {"kernel": kernel, "bandwidth": 1.5}
    values = [kernel_stein_discrepancy(energy, batch, **options).detach() for batch in x]
    check_mean(torch.stack(values), torch.zeros(1), what="U-statistic")
    assert min(values) < 0
    for batch in x[:50]:
        value = kernel_stein_discrepancy(energy, batch, statistic="v", **options)
        assert value > 0 and value > kernel_stein_discrepancy(energy, batch, **options)


def test_it_learns_a_gaussian():
    mean, scale = torch.tensor([1.0, -2.0], dtype=F64), 0.5
    x = mean + scale * torch.randn(400, 2, generator=seeded(2), dtype=F64)
    energy = Gaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    optimizer = torch.optim.LBFGS(energy.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = kernel_stein_discrepancy(energy, x)
        value.backward()
        return value

    optimizer.step(closure)
    torch.testing.assert_close(energy.mean.detach(), x.mean(0), rtol=0, atol=0.05)
    precision = energy.precision.detach()
    estimate = torch.linalg.inv(torch.cov(x.T))
    torch.testing.assert_close((precision + precision.T) / 2, estimate, rtol=0.15, atol=0.3)


def test_an_example_is_all_of_its_dimensions_and_may_stand_anywhere():
    energy, x = example(8, 6)
    flat = kernel_stein_discrepancy(energy, x, reduction="none")
    shaped = kernel_stein_discrepancy(
        lambda y: energy(y.flatten(1)), x.view(8, 2, 3), reduction="none"
    )
    torch.testing.assert_close(shaped, flat)
    far = x + 1e4
    shifted = kernel_stein_discrepancy(lambda y: energy(y - 1e4), far, reduction="none")
    torch.testing.assert_close(shifted, flat, rtol=1e-8, atol=1e-9)


def test_an_example_may_be_one_number():
    x = torch.randn(6, generator=seeded(3), dtype=F64)
    value = kernel_stein_discrepancy(lambda y: y**4, x)
    column = kernel_stein_discrepancy(lambda y: y.squeeze(1) ** 4, x[:, None])
    torch.testing.assert_close(value, column)


def test_weights_in_inference_mode():
    energy, x = example()
    w = torch.linspace(0, 1, len(x), dtype=F64)
    expected = kernel_stein_discrepancy(energy, x, weights=w).detach()
    with torch.inference_mode():
        torch.testing.assert_close(kernel_stein_discrepancy(energy, x, weights=w), expected)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"statistic": "w"}, 'statistic must be "u" or "v", got "w"'),
        ({"kernel": "linear"}, 'kernel must be "imq" or "rbf", got "linear"'),
        ({"kernel": "rbf", "exponent": -0.5}, 'exponent must not be given for kernel "rbf"'),
        ({"exponent": 0.0}, "exponent must be between -1 and 0, got 0"),
        ({"exponent": -1.0}, "exponent must be between -1 and 0, got -1"),
        ({"bandwidth": 0.0}, "bandwidth must be > 0 and finite, got 0"),
        ({"bandwidth": float("nan")}, "bandwidth must be > 0 and finite, got nan"),
        ({"weights": torch.tensor([0.0, 1, 0])}, "x must hold at least 2 examples of weight > 0"),
    ],
)
def test_bad_options_are_refused(options, match):
    x = torch.tensor([[1.0, -2.0], [0.0, 0.5], [2.0, 2.0]])
    with pytest.raises(ValueError, match=f"kernel_stein_discrepancy: {match}"):
        kernel_stein_discrepancy(lambda y: y.square().sum(1), x, **options)


def test_too_few_examples_are_refused():
    def energy(y):
        return y.square().sum(1)

    one, same = torch.ones(1, 2), torch.ones(5, 2)
    with pytest.raises(ValueError, match="x must hold at least 2 examples"):
        kernel_stein_discrepancy(energy, one, bandwidth=1.0)
    with pytest.raises(ValueError, match="bandwidth must be given for a single example"):
        kernel_stein_discrepancy(energy, one, statistic="v")
    with pytest.raises(ValueError, match="bandwidth must be given where half of the pairs"):
        kernel_stein_discrepancy(energy, same)
    value = kernel_stein_discrepancy(energy, one, statistic="v", bandwidth=2.0)
    torch.testing.assert_close(value, torch.tensor(8.0 + 2 / 4))


def test_an_energy_without_a_score_is_refused():
    for energy in (lambda y: torch.ones(len(y)), lambda y: y.detach().sum(1)):
        with pytest.raises(ValueError, match="must depend differentiably on x"):
            kernel_stein_discrepancy(energy, torch.randn(3, 2))


def test_modes_far_apart_and_uneven_weights_lose_no_digits_in_float32():
    x = 0.1 * torch.randn(40, 5)
    x[20:] += 1000
    w = torch.full((40,), 1e-3)
    w[0] = 1e5

    def energy(y):
        return 5e-5 * y.square().sum(1)

    for weights in (None, w):
        single = torch_ebm.kernel_stein_discrepancy(energy, x, bandwidth=0.1, weights=weights)
        double = torch_ebm.kernel_stein_discrepancy(
            energy, x.double(), bandwidth=0.1, weights=weights
        )
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
