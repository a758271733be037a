"""The multilayer perceptron: its closed-form score against autograd, and what the samplers make of it."""

import pytest
import torch
from torch import nn

import torch_ebm
from known_values import seeded

ops = torch.ops.torch_ebm

MODULES = {"silu": nn.SiLU, "softplus": lambda: nn.Softplus(threshold=40.0), "tanh": nn.Tanh}
# The last two have products by torch: the first because of one layer, the second because of another.
SIZES = [
    [2, 64, 64, 1],
    [1, 7, 1],
    [5, 33, 8, 70, 1],
    [784, 20, 1],
    [784, 100, 1],
    [3, 300, 300, 1],
]

EVERY_ACTIVATION = pytest.mark.parametrize("activation", MODULES)
EVERY_SIZE = pytest.mark.parametrize("sizes", SIZES, ids=str)


def network(sizes, activation="silu", confinement=0.0, dtype=torch.float64, scale=1.5):
    """With large weights, so that the hidden units leave the linear range."""
    torch.manual_seed(11)
    mlp = torch_ebm.MLP(sizes, activation=activation, confinement=confinement, dtype=dtype)
    with torch.no_grad():
        for p in mlp.parameters():
            p.normal_(0, scale / (p.shape[-1] ** 0.5 if p.dim() == 2 else 1))
    return mlp


def states(n, n_units, dtype=torch.float64):
    return torch.randn(n, n_units, generator=seeded(12), dtype=torch.float64).to(dtype)


def by_autograd(energy, x):
    leaf = x.detach().clone().requires_grad_()
    value = energy(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), -gradient


def layers_of(mlp):
    linear = mlp.layers[::2]
    return [layer.weight for layer in linear], [layer.bias for layer in linear]


# --- Energies and scores --------------------------------------------------------------------------


@EVERY_SIZE
@EVERY_ACTIVATION
def test_value_and_score_are_those_of_autograd(activation, sizes):
    mlp = network(sizes, activation, confinement=0.7)
    for n in (1, 65, 200):
        x = states(n, sizes[0])
        for one, other in zip(mlp.value_and_score(x), by_autograd(mlp, x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@EVERY_SIZE
@EVERY_ACTIVATION
def test_single_precision_is_as_good_as_torchs(activation, sizes):
    exact, mlp = network(sizes, activation, 0.7), network(sizes, activation, 0.7)
    mlp.float()
    exact.load_state_dict(mlp.state_dict())  # the rounded parameters
    x = states(500, sizes[0], torch.float32)
    for ours, theirs, right in zip(
        mlp.value_and_score(x), by_autograd(mlp, x), by_autograd(exact, x.double()), strict=True
    ):
        assert ours.dtype == torch.float32
        bound = 3 * (theirs - right).abs().max() + 1e-6 * right.abs().max()
        assert (ours - right).abs().max() < bound


@EVERY_ACTIVATION
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_of_any_magnitude(activation, dtype):
    # One hidden unit: the energy is the activation, the score minus its slope.
    x = torch.cat(
        [torch.linspace(-30, 30, 6001), torch.tensor([-1e4, -300.0, -95.0, 95, 300, 1e4])]
    )
    x = x.to(dtype)[:, None]
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    value, score = ops.mlp_value_and_score(x, [one, one], [zero, zero], activation)
    exact, slope = by_autograd(MODULES[activation](), x.double())
    tolerance = (
        {"rtol": 1e-6, "atol": 5e-7} if dtype == torch.float32 else {"rtol": 0, "atol": 1e-13}
    )
    torch.testing.assert_close(value.double(), exact[:, 0], **tolerance)
    torch.testing.assert_close(score.double(), slope, **tolerance)


@EVERY_ACTIVATION
@pytest.mark.parametrize("sizes", [[3, 5, 1], [3, 300, 300, 1]], ids=str)
def test_nan_stays_nan(activation, sizes):
    mlp = network(sizes, activation, dtype=torch.float32)
    x = states(40, 3, torch.float32)
    x[7, 1] = float("nan")
    value, score = mlp.value_and_score(x)
    bad = torch.arange(40) == 7
    assert torch.equal(value.isnan(), bad) and torch.equal(score.isnan().all(1), bad)


def test_confinement_adds_a_quadratic():
    x = states(33, 5)
    value, score = network([5, 8, 1]).value_and_score(x)
    confined = network([5, 8, 1], confinement=0.5)
    expected = value + 0.25 * x.square().sum(1), score - 0.5 * x
    for one, other in zip(confined.value_and_score(x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float(dtype):
    half = network([4, 16, 16, 1], dtype=dtype)
    wide = torch_ebm.MLP([4, 16, 16, 1])
    wide.load_state_dict(half.state_dict())
    x = states(50, 4, dtype)
    for one, other in zip(half.value_and_score(x), wide.value_and_score(x.float()), strict=True):
        assert one.dtype == dtype and torch.equal(one, other.to(dtype))


def test_strides_change_nothing():
    mlp, x = network([6, 40, 9, 1], dtype=torch.float32), states(70, 6, torch.float32)
    expected = mlp.value_and_score(x)
    for layout in (x.T.contiguous().T, torch.stack([x, x], -1)[..., 0]):
        assert not layout.is_contiguous()
        for one, other in zip(mlp.value_and_score(layout), expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chain_is_the_same_for_any_threads_and_batch(dtype):
    mlp, x = network([2, 64, 64, 1], "tanh", 0.3, dtype), states(5000, 2, dtype)
    torch.set_num_threads(1)
    expected = mlp.value_and_score(x)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for n in (1, 31, 32, 33, 4999, 5000):
            for one, other in zip(mlp.value_and_score(x[:n]), expected, strict=True):
                assert torch.equal(one, other[:n])


def test_results_have_no_gradient_and_memory_of_their_own():
    mlp, x = network([2, 5, 1]), states(9, 2).requires_grad_()
    first, again = mlp.value_and_score(x), mlp.value_and_score(x)
    for one, other in zip(first, again, strict=True):
        assert not one.requires_grad and one.data_ptr() != other.data_ptr()
    assert all(p.grad is None for p in mlp.parameters())


# --- The module -----------------------------------------------------------------------------------


@EVERY_ACTIVATION
def test_the_parameters_are_those_of_a_sequential(activation):
    mlp, module = network([3, 6, 4, 1], activation, dtype=torch.float32), MODULES[activation]
    plain = nn.Sequential(nn.Linear(3, 6), module(), nn.Linear(6, 4), module(), nn.Linear(4, 1))
    plain.load_state_dict(
        {name.removeprefix("layers."): value for name, value in mlp.state_dict().items()}
    )
    x = states(10, 3, torch.float32)
    assert torch.equal(mlp(x), plain(x)[:, 0])


@EVERY_ACTIVATION
def test_the_energy_has_second_derivatives(activation):
    mlp = network([2, 5, 3, 1], activation, 0.4)
    x = states(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(mlp, x) and torch.autograd.gradgradcheck(mlp, x)


def test_scripted_compiled_and_vectorised_modules_agree(tmp_path):
    mlp, x = network([3, 8, 8, 1], confinement=0.2), states(20, 3)
    torch.jit.save(torch.jit.script(mlp), tmp_path / "mlp.pt")
    scripted = torch.jit.load(tmp_path / "mlp.pt")
    compiled = torch.compile(mlp, fullgraph=True, backend="aot_eager")
    of_one = torch.vmap(lambda one: mlp(one[None])[0])
    for function in (scripted, compiled, of_one):
        torch.testing.assert_close(function(x), mlp(x), rtol=1e-12, atol=1e-12)
    for one, other in zip(scripted.value_and_score(x), mlp.value_and_score(x), strict=True):
        assert torch.equal(one, other)


def test_it_says_what_it_is():
    text = "sizes=[2, 3, 1], activation='tanh', confinement=0.5"
    assert text in repr(torch_ebm.MLP([2, 3, 1], activation="tanh", confinement=0.5))


# --- Sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [None, 0.5])
@pytest.mark.parametrize("sampler", [torch_ebm.langevin, torch_ebm.mala, torch_ebm.hmc])
def test_samplers_do_with_it_what_they_do_through_autograd(sampler, beta):
    mlp, start = network([2, 16, 16, 1], confinement=1.0), states(50, 2)
    kinds = [lambda x: mlp(x), mlp, torch.jit.script(mlp)]
    first, *others = [
        sampler(e, start, n_steps=20, step_size=0.05, beta=beta, generator=seeded(13)).x
        for e in kinds
    ]
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-9, atol=1e-9)


def test_samplers_call_the_closed_form():
    mlp, calls = network([2, 4, 1]), []
    score = mlp.value_and_score
    mlp.value_and_score = lambda x: calls.append(len(x)) or score(x)
    torch_ebm.langevin(mlp, states(9, 2), n_steps=3)
    assert calls == [9, 9, 9]


# --- Refusals -------------------------------------------------------------------------------------

SHAPES = [(4, 3), (1, 4)]
WEIGHTS, BIASES = [torch.zeros(*s) for s in SHAPES], [torch.zeros(s[0]) for s in SHAPES]
X = torch.zeros(5, 3)
REFUSED = {
    "x must have shape (N, D) = (any, 3), got (5, 2)": {"x": X[:, :2]},
    "x must have shape (N, D) = (any, 3), got (3,)": {"x": X[0]},
    "weights must be those of at least two layers, got 1": {"weights": WEIGHTS[:1]},
    "biases must be as many as weights, 2, got 1": {"biases": BIASES[:1]},
    "weights[0] must have shape (out, in) = (any, any), got (3,)": {"weights": [X[0], WEIGHTS[1]]},
    "weights[1] must have shape (out, in) = (1, 4), got (1, 3)": {"weights": [WEIGHTS[0], X[:1]]},
    "weights[1] must have shape (out, in) = (1, 4), got (4, 3)": {"weights": [WEIGHTS[0]] * 2},
    "biases[0] must have shape (out,) = (4,), got (1,)": {"biases": [BIASES[1]] * 2},
    "activation must be 'silu', 'softplus' or 'tanh', got 'relu'": {"activation": "relu"},
    "confinement must be >= 0 and finite, got -1": {"confinement": -1.0},
    "confinement must be >= 0 and finite, got nan": {"confinement": float("nan")},
}


@pytest.mark.parametrize("message", REFUSED)
def test_wrong_values_are_named(message):
    good = {"x": X, "weights": WEIGHTS, "biases": BIASES}
    with pytest.raises(ValueError) as error:
        torch_ebm.mlp_value_and_score(**{**good, **REFUSED[message]})
    assert f"mlp_value_and_score: {message}" in str(error.value)


def test_wrong_dtypes_are_named():
    with pytest.raises(TypeError, match="x must have a floating dtype, got Long"):
        torch_ebm.mlp_value_and_score(X.long(), WEIGHTS, BIASES)
    with pytest.raises(
        TypeError, match=r"weights\[0\] must have the dtype of x, Double, got Float"
    ):
        torch_ebm.mlp_value_and_score(X.double(), WEIGHTS, BIASES)
    with pytest.raises(TypeError, match=r"biases\[1\] must have the dtype of x, Float, got Double"):
        torch_ebm.mlp_value_and_score(X, WEIGHTS, [BIASES[0], BIASES[1].double()])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([2, 1],), "sizes must be D, at least one hidden layer, and 1"),
        (([2, 3, 2],), "sizes must be"),
        (([2, 0, 1],), "all positive, got [2, 0, 1]"),
        (([2, 3, 1], "relu"), "activation must be 'silu', 'softplus' or 'tanh', got 'relu'"),
        (([2, 3, 1], "silu", -0.5), "confinement must be >= 0 and finite, got -0.5"),
    ],
)
def test_wrong_modules_are_refused(arguments, message):
    names = ("sizes", "activation", "confinement")
    with pytest.raises(ValueError) as error:
        torch_ebm.MLP(**dict(zip(names, arguments)))
    assert message in str(error.value)


def test_a_wrong_batch_is_refused():
    with pytest.raises(ValueError, match=r"MLP: x must have shape \(N, 2\), got \[3\]"):
        torch_ebm.MLP([2, 3, 1])(torch.zeros(3))


def test_it_is_made_from_tensors():
    expected = torch_ebm.MLP([3, 5, 4, 1], activation="tanh", confinement=0.5, dtype=torch.float64)
    tensors = list(expected.parameters())
    mlp = torch_ebm.MLP.from_tensors(
        tensors[::2], tensors[1::2], activation="tanh", confinement=0.5
    )
    x = torch.randn(6, 3, dtype=torch.float64, generator=seeded(1))
    assert torch.equal(mlp(x), expected(x))
    for one, other in zip(mlp.value_and_score(x), expected.value_and_score(x)):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"layers.2.weight must have shape \(4, 5\)"):
        torch_ebm.MLP.from_tensors([tensors[0], tensors[2][:, :4], tensors[4]], tensors[1::2])
    with pytest.raises(ValueError, match="at least two layers, got 3 and 2"):
        torch_ebm.MLP.from_tensors(tensors[::2], tensors[1:4:2])
