"""A pass has two forms: the CPU kernel, and torch's operations, which serve every other device.
Here torch's form is forced on the CPU (``_use_torch_passes``), and every pass, and a run of
everything built on passes, must give what the kernels give: bit for bit where it is integers and
uniform numbers, else but for the rounding stated."""

import contextlib

import pytest
import torch

import torch_ebm
from known_values import seeded
from pass_runs import LARGE, RUNS, SMALL, bits, rbm_of

ops = torch.ops.torch_ebm
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-13}


@contextlib.contextmanager
def torch_forms():
    before = ops._use_torch_passes(True)
    try:
        yield
    finally:
        ops._use_torch_passes(before)


def both(function):
    """What the kernels give, and what torch's operations give."""
    with_kernels = function()
    with torch_forms():
        return with_kernels, function()


def key(value):
    return torch.tensor(value)


# --- Numbers --------------------------------------------------------------------------------------

SHAPES = [(5, 1), (3, 7), (2, 16), (2, 17), (3, 32), (3, 33), (2, 64), (2, 65), (3, 5, 40), (0, 3)]
WORDS = [0, 1, 2**31, 2**32 - 1]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_uniform_numbers_are_the_same_bit_for_bit(shape, dtype):
    like = torch.empty(shape, dtype=dtype)
    for k, word in zip([0, -1, 2**63 - 1, -(2**62) + 12345], WORDS):
        one, other = both(lambda: ops._uniform_numbers(like, key(k), word, WORDS[-1] - word))
        assert torch.equal(one, other)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_normal_numbers_are_the_same_but_for_rounding(shape, dtype):
    # In float the kernel's sine and cosine have an absolute error of 2e-7, times a radius below
    # 6.8.
    like = torch.empty(shape, dtype=dtype)
    bound = 3e-6 if dtype == torch.float32 else 2e-14
    for k, word in zip([0, -1, 2**63 - 1, -(2**62) + 12345], WORDS):
        one, other = both(lambda: ops._normal_numbers(like, key(k), word, WORDS[-1] - word))
        torch.testing.assert_close(one, other, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_in_half_precision_are_those_in_float_rounded(dtype):
    like = torch.empty(50, 70, dtype=dtype)
    one, other = both(lambda: ops._uniform_numbers(like, key(3), 0, 0))
    assert torch.equal(one, other)
    assert torch.equal(one, ops._uniform_numbers(like.float(), key(3), 0, 0).to(dtype))


def test_the_switch_changes_the_form():
    one, other = both(lambda: ops._normal_numbers(torch.empty(50, 50), key(3), 0, 0))
    assert not torch.equal(one, other)
    assert torch.equal(one, ops._normal_numbers(torch.empty(50, 50), key(3), 0, 0))


# --- Passes, each through the operator that is little else ----------------------------------------

@DTYPES
@pytest.mark.parametrize("n_units", [3, 100])
def test_langevin_update(n_units, dtype):
    x, score = torch.randn(2, 50, n_units, dtype=dtype).unbind()
    one, other = both(lambda: ops.langevin_update(x, score, 0.3, generator=seeded(2)))
    torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING[dtype])


@DTYPES
@pytest.mark.parametrize("activation", ["silu", "softplus", "tanh"])
@pytest.mark.parametrize("width", [20, 300])
def test_activation(width, activation, dtype):
    torch.manual_seed(1)
    sizes = [(width, 9), (width, width), (1, width)]
    weights = [torch.randn(s, dtype=dtype) / s[1] ** 0.5 for s in sizes]
    biases = [torch.randn(s[0], dtype=dtype) for s in sizes]
    x = 3 * torch.randn(40, 9, dtype=dtype)
    network = (x, weights, biases, activation, 0.1)
    for one, other in zip(*both(lambda: ops.mlp_value_and_score(*network))):
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING[dtype])


@DTYPES
@pytest.mark.parametrize("with_sites", [False, True])
def test_rbm_flip_sums(with_sites, dtype):
    rbm, v = rbm_of(SMALL, dtype, "cpu"), bits(70, SMALL[0]).to(dtype)
    sites = torch.randint(SMALL[0], (70, 4)) if with_sites else None

    def run():
        rbm.zero_grad()
        sums = ops.rbm_flip_differences(v, *rbm.parameters(), sites)
        (sums * torch.linspace(-1, 1, sums.numel(), dtype=dtype).view_as(sums)).sum().backward()
        return [sums.detach(), *(p.grad.clone() for p in rbm.parameters())]

    for one, other in zip(*both(run)):
        torch.testing.assert_close(one, other, rtol=0, atol=10 * ROUNDING[dtype])


@DTYPES
def test_rbm_free_energy(dtype):
    rbm, v = rbm_of(SMALL, dtype, "cpu"), bits(70, SMALL[0]).to(dtype)

    def run():
        rbm.zero_grad()
        energies = rbm(v)
        energies.sum().backward()
        return [energies.detach(), *(p.grad.clone() for p in rbm.parameters())]

    for one, other in zip(*both(run)):
        torch.testing.assert_close(one, other, rtol=10 * ROUNDING[dtype], atol=10 * ROUNDING[dtype])


# --- Everything built on passes -------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("name", RUNS)
def test_runs(name, dtype):
    one, other = both(lambda: RUNS[name](dtype, "cpu"))
    # A few steps grow a rounding little: 0.1 % in float, where scores are differences.
    bound = {torch.float32: 1e-3, torch.float64: 1e-10}[dtype]
    same = torch.isclose(one, other, rtol=bound, atol=bound).all(-1).double()
    # A decision differs where a uniform number lies between two roundings of a probability, and
    # then the chain goes its own way: once in 10^6 decisions in float, of which a row here has at
    # most 7000. In double never.
    assert same.mean() >= (0.95 if dtype == torch.float32 else 1)


# --- What goes wrong ------------------------------------------------------------------------------


def message(function):
    with pytest.raises(ValueError) as error:
        function()
    return str(error.value)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_sum_that_overflows_is_refused(size):
    rbm = [torch.full(size, 3e38), torch.zeros(size[0]), torch.zeros(size[1])]

    def run():
        ops.rbm_gibbs(torch.ones(5, size[0]), *rbm, n_steps=3, beta=torch.zeros(()))

    one, other = both(lambda: message(run))
    assert "the input of a unit is NaN" in one and one == other


def cliff(at):
    """A flat energy with a score that becomes NaN where the first unit passes `at`."""

    class Energy:
        def __call__(self, x):
            return 0 * x.sum(1)

        def value_and_score(self, x):
            return self(x), torch.where(x[:, :1] > at, torch.nan, torch.zeros_like(x) + 1)

    return Energy()


UNADJUSTED = {
    "langevin": {},
    "langevin with bounds": {"max_score": 5.0, "bounds": (-1000.0, 1000.0)},
    "underdamped_langevin": {},
}


@pytest.mark.parametrize("name", UNADJUSTED)
def test_the_same_chain_and_step_are_named_and_the_same_states_left(name):
    sampler = getattr(torch_ebm, name.split()[0])

    def run():
        x = torch.zeros(40, 3).double()
        text = message(
            lambda: sampler(
                cliff(3.0), x, n_steps=200, step_size=0.1, inplace=True, generator=seeded(3),
                **UNADJUSTED[name],
            )
        )  # fmt: skip
        return text, x

    (one, left), (other, other_left) = both(run)
    assert "score of chain" in one and one == other
    torch.testing.assert_close(left, other_left, rtol=0, atol=1e-10)


# --- Devices --------------------------------------------------------------------------------------


def test_every_operator_reaches_every_device():
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("torch_ebm::")]
    of_python = ("call_", "progress", "energy_has")
    in_python = {n for n in names if n.split("::_")[-1].startswith(of_python)}
    for name in set(names) - in_python:
        for device in ("CPU", "CUDA", "MPS", "XPU", "PrivateUse1"):
            assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, device), name
