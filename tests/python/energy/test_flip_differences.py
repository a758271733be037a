"""Energy differences by a flip of one unit, in closed form: of RBMs and Boltzmann machines, and of any energy that has
the method."""

import pytest
import torch
import torch.nn.functional as F

import torch_ebm
from energies import FullyVisible
from known_values import all_states, random_rbm, seeded

ops = torch.ops.torch_ebm


def bits(n, width, dtype=torch.float64):
    return torch.bernoulli(torch.full((n, width), 0.5, dtype=dtype))


def flipped(x, site):
    y = x.clone()
    y[:, site] = 1 - y[:, site]
    return y


def naive(energy, x):
    return torch.stack([energy(flipped(x, i)) - energy(x) for i in range(x.shape[1])], 1)


def some_sites(n, width, m):
    return torch.stack([torch.randperm(width)[:m] for _ in range(n)])


def boltzmann(n_units, scale=0.5):
    machine = torch_ebm.BoltzmannMachine(n_units, dtype=torch.float64)
    torch.nn.init.normal_(machine.weight, std=scale)
    torch.nn.init.normal_(machine.bias)
    return machine


# Sizes that fill no register, several registers, and more than one block of examples. Weights beyond 20 take torch's
# operations instead of the kernels.
MODELS = {
    "rbm": lambda: (random_rbm(9, 5, 1.0, 1), 7),
    "wide rbm": lambda: (random_rbm(33, 70, 0.3, 2), 150),
    "strong rbm": lambda: (random_rbm(12, 40, 4.0, 3), 5),
    "rbm beyond the kernels": lambda: (random_rbm(6, 7, 15.0, 4), 5),
    "one unit": lambda: (random_rbm(1, 1, 1.0, 5), 3),
    "boltzmann": lambda: (boltzmann(9), 7),
}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS)


@EVERY_MODEL
@pytest.mark.parametrize("subset", [False, True])
def test_equals_the_difference_of_the_energies(model, subset):
    energy, n = MODELS[model]()
    width = len(energy.visible_bias) if hasattr(energy, "visible_bias") else energy.n_units
    x = bits(n, width)
    expected, sites = naive(energy, x), None
    if subset:
        sites = some_sites(n, width, max(1, width // 2))
        expected = expected.gather(1, sites)
    differences = energy.flip_differences(x, sites)
    torch.testing.assert_close(differences, expected, rtol=1e-10, atol=1e-10)
    g = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(differences, list(energy.parameters()), g),
        torch.autograd.grad(expected, list(energy.parameters()), g),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
def test_float32_is_as_accurate_as_its_energies_are(scale):
    rbm, x = random_rbm(50, 130, scale, 6), bits(70, 50)
    exact = rbm.flip_differences(x)
    single = random_rbm(50, 130, scale, 6, torch.float32)
    assert (single.flip_differences(x.float()) - exact).abs().max() < 1e-5 * (1 + exact.abs().max())


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("model", ["rbm", "boltzmann"])
def test_first_and_second_derivatives_in_the_parameters(model, subset):
    energy, _ = MODELS[model]()
    x, sites = bits(3, 9), some_sites(3, 9, 4) if subset else None
    op = ops.rbm_flip_differences if model == "rbm" else ops.boltzmann_flip_differences
    parameters = [p.detach().clone().requires_grad_() for p in energy.parameters()]
    assert torch.autograd.gradcheck(lambda *p: op(x, *p, sites), parameters)
    assert torch.autograd.gradgradcheck(lambda *p: op(x, *p, sites), parameters)


# opcheck looks at the .grad of what a composite hands to an operator within it.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("subset", [False, True])
def test_opcheck(subset):
    rbm, _ = MODELS["rbm"]()
    x, sites = bits(6, 9), some_sites(6, 9, 4) if subset else None
    hidden, weight = torch.randn(6, 5).double().requires_grad_(), rbm.weight
    shape = (6, 4 if subset else 9)
    for op, arguments in (
        (ops.rbm_flip_differences, (x, *rbm.parameters(), sites)),
        (ops.boltzmann_flip_differences, (x, *boltzmann(9).parameters(), sites)),
        (ops._rbm_flip_sums, (x, hidden, weight, sites)),
        (ops._rbm_flip_sums_backward, (torch.randn(shape).double(), x, hidden, weight, sites)),
    ):
        torch.library.opcheck(op.default, arguments)


def test_compiled_and_scripted_equal_eager():
    rbm, _ = MODELS["rbm"]()
    x = bits(6, 9)
    expected = rbm.flip_differences(x)
    compiled = torch.compile(lambda y: rbm.flip_differences(y), fullgraph=True, backend="aot_eager")
    value = compiled(x)
    torch.testing.assert_close(value, expected)
    value.sum().backward()
    (gradient,) = torch.autograd.grad(expected.sum(), rbm.weight)
    torch.testing.assert_close(rbm.weight.grad, gradient)
    torch.testing.assert_close(torch.jit.script(rbm).flip_differences(x), expected)


def test_threads_and_batches_change_no_bit():
    rbm, x = random_rbm(40, 90, 0.5, 7), bits(200, 40)
    expected = rbm.flip_differences(x)
    (gradient,) = torch.autograd.grad(expected.sin().sum(), rbm.weight)
    torch.set_num_threads(2)
    again = rbm.flip_differences(x)
    assert torch.equal(again, expected)
    assert torch.equal(torch.autograd.grad(again.sin().sum(), rbm.weight)[0], gradient)
    torch.testing.assert_close(rbm.flip_differences(x[:65])[64], expected[64], rtol=1e-13, atol=0)


@pytest.mark.parametrize("criterion", [torch_ebm.pseudolikelihood, torch_ebm.ratio_matching])
@pytest.mark.parametrize("n_sites", [None, 4])
@pytest.mark.parametrize("model", ["rbm", "boltzmann"])
def test_criteria_are_the_same_with_and_without(criterion, n_sites, model):
    energy, n = MODELS[model]()
    x = bits(n, 9)
    one = criterion(energy, x, n_sites=n_sites, generator=seeded(3))
    other = criterion(lambda y: energy(y), x, n_sites=n_sites, generator=seeded(3))
    torch.testing.assert_close(one, other)
    for a, b in zip(
        torch.autograd.grad(one, list(energy.parameters())),
        torch.autograd.grad(other, list(energy.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_blocks_of_one_unit_ask_for_those_units():
    rbm, n = MODELS["rbm"]()
    x, blocks = bits(n, 9), torch.tensor([[4], [0], [7]])
    value = torch_ebm.pseudolikelihood(rbm, x, blocks=blocks, reduction="none")
    expected = F.softplus(-naive(rbm, x)[:, [4, 0, 7]]).sum(1)
    torch.testing.assert_close(value, expected)


class WithDifferences(FullyVisible):
    """A Python energy with the method; `wrong` replaces what it returns."""

    wrong = None
    calls = 0

    def flip_differences(self, x, sites):
        self.calls += 1
        if self.wrong is not None:
            return self.wrong
        differences = naive(super().forward, x)
        return differences if sites is None else differences.gather(1, sites)


def test_a_python_energy_may_have_the_method():
    weight = torch.randn(4, 4, dtype=torch.float64)
    energy = WithDifferences(weight, torch.randn(4, dtype=torch.float64))
    x = all_states(4)
    for options in ({}, {"n_sites": 2}):
        one = torch_ebm.ratio_matching(energy, x, generator=seeded(1), **options)
        other = torch_ebm.ratio_matching(lambda y: energy(y), x, generator=seeded(1), **options)
        torch.testing.assert_close(one, other)
    assert energy.calls == 2


@pytest.mark.parametrize(
    "wrong, error, match",
    [
        (3, TypeError, "flip_differences must return a tensor"),
        (torch.zeros(16, 3), ValueError, r"flip_differences returns must have shape .*\(16, 3\)"),
        (torch.zeros(16, 4).long(), TypeError, "flip_differences returns must"),
    ],
)
def test_what_it_returns_is_checked(wrong, error, match):
    energy = WithDifferences(torch.zeros(4, 4).double(), torch.zeros(4).double())
    energy.wrong = wrong
    with pytest.raises(error, match=match):
        torch_ebm.ratio_matching(energy, all_states(4))


def test_bad_arguments():
    rbm, _ = MODELS["rbm"]()
    x = bits(3, 9)
    for sites, error, match in (
        (torch.zeros(3, 2), TypeError, "sites must have dtype Long"),
        (torch.zeros(4, 2).long(), ValueError, r"sites must have shape \(N, m\)"),
        (torch.full((3, 1), 9), ValueError, "flip_differences: sites must be numbers from 0 to 8"),
        (torch.full((3, 1), -1), ValueError, "flip_differences: sites must be numbers from 0 to 8"),
    ):
        for model in (rbm, boltzmann(9)):
            with pytest.raises(error, match=match):
                model.flip_differences(x, sites)
    with pytest.raises(ValueError, match="rbm_flip_differences: visible must have shape"):
        rbm.flip_differences(x[:, :4])
    rbm.weight.data[0, 0] = float("nan")
    assert rbm.flip_differences(x).isnan().any()
