"""Calls that once ended or hung the process: operators check what their kernels rely on.

tests/fuzz finds more of them.
"""

import re

import numpy as np
import pytest
import torch

import torch_ebm
from torch_ebm.energy.energy import Registration

ops = torch.ops.torch_ebm
KNOTS = torch.stack([torch.zeros(4, 2), torch.ones(4, 2)])
BIASES = torch.zeros(2, 4), torch.zeros(2, 2)
RISING = torch.tensor([0.0, 0.5, 1.0])
FUNCTIONS = {
    "sum": lambda x: x.sum(1),
    "keep": lambda x, beta, generator: (x, None),
    "triple": lambda x, beta, generator: (x, x, x),
    "text": lambda x, beta, generator: (x, "text"),
}
REGISTERED = {}


@pytest.fixture(scope="module", autouse=True)
def registrations():
    REGISTERED.update({name: Registration(f) for name, f in FUNCTIONS.items()})
    yield
    REGISTERED.clear()


def handle(name):
    return REGISTERED[name].handle


def path_at(betas, beta=0.5, weight=KNOTS, hidden_bias=BIASES[1]):
    return ops.rbm_path_at(weight, BIASES[0], hidden_bias, betas, torch.tensor(beta))


def flip_sums_backward(weight=None, gradient=None, sites=None):
    return ops._rbm_flip_sums_backward(
        torch.zeros(3, 4) if gradient is None else gradient,
        torch.zeros(3, 4),
        torch.zeros(3, 2),
        torch.zeros(4, 2) if weight is None else weight,
        sites,
    )


def emptied_path():
    path = torch_ebm.RBMPath(KNOTS, *BIASES)
    path.betas = torch.zeros(0)
    return path.tempered(torch.zeros(3, 4), torch.tensor(0.5))


KILLED = {
    "no betas": (lambda: path_at(torch.zeros(0)), ValueError, "betas must have shape (R,) = (2,)"),
    "betas of (0, 17)": (lambda: path_at(torch.zeros(0, 17)), ValueError, "got (0, 17)"),
    "emptied betas": (emptied_path, ValueError, "betas must have shape (R,) = (2,), got (0,)"),
    "no knots": (
        lambda: path_at(torch.zeros(0), weight=torch.zeros(0, 4, 2)),
        ValueError,
        "weight must hold at least 2 knots, got 0",
    ),
    "a weight of other rows": (
        lambda: flip_sums_backward(torch.zeros(9, 2)),
        ValueError,
        "_rbm_flip_sums_backward: visible must have shape (N, V) = (any, 9), got (3, 4)",
    ),
    "a weight of other hidden units": (
        lambda: flip_sums_backward(torch.zeros(4, 7)),
        ValueError,
        "hidden_input must have shape (N, H) = (3, 7), got (3, 2)",
    ),
    "another gradient": (
        lambda: flip_sums_backward(gradient=torch.zeros(3, 3)),
        ValueError,
        "gradient must have shape",
    ),
    **{
        f"site {site}": (
            lambda site=site: flip_sums_backward(
                gradient=torch.zeros(3, 1), sites=torch.full((3, 1), site)
            ),
            ValueError,
            f"sites must be numbers from 0 to 3, got {site}",
        )
        for site in (-1, 4, 2**62)
    },
    **{
        f"{name} of a sampler that returns a triple": (call, TypeError, "sampler must return")
        for name, call in {
            "replica_exchange": lambda: ops.replica_exchange(
                handle("sum"), torch.zeros(3, 2, 4), RISING.flip(0), handle("triple")
            ),
            "anneal": lambda: ops.anneal(handle("sum"), torch.zeros(3, 4), RISING, handle("triple")),
            "recovery_likelihood": lambda: ops.recovery_likelihood(
                handle("sum"), torch.zeros(3, 4), sigma=0.5, sampler=handle("triple")
            ),
        }.items()
    },
    "a sampler's energies that are text": (
        lambda: ops.anneal(handle("sum"), torch.zeros(3, 4), RISING, handle("text")),
        TypeError,
        "sampler must return energies (N,), got str",
    ),
    **{
        f"{name} of dtype {dtype}": (
            lambda call=call, dtype=dtype: call(dtype),
            TypeError,
            "dtype must be floating, got",
        )
        for name, call in {
            "start_states": lambda dtype: ops.start_states("normal", [2, 2], dtype=dtype),
            "quadrature_log_z": lambda dtype: ops.quadrature_log_z(
                handle("sum"), [0.0], [1.0], dtype=dtype
            ),
            "exact_log_z": lambda dtype: ops.exact_log_z(handle("sum"), 3, dtype=dtype),
        }.items()
        # 262 and 2**32 + 6 are 6, float, once they are narrowed to the 8 bits of a dtype.
        for dtype in (-1, 4, 262, 1000, 2**32 + 6, 2**63 - 1)
    },
    "one value on the meta device": (
        lambda: ops.mbar_expectation(
            torch.zeros(2, 9, device="meta"),
            torch.tensor([4, 5], device="meta"),
            torch.zeros((), device="meta"),
        ),
        ValueError,
        "mbar_expectation: values must have shape (N, ...), one for every sample, got []",
    ),
    "an RBM of no units": (
        lambda: ops.rbm_ais(
            torch.zeros(0, 0), *[torch.zeros(0)] * 3, torch.tensor([0.0, 1.0]), n_chains=3
        ),
        ValueError,
        "rbm_ais: weight must be that of at least one unit in a layer, got (0, 0)",
    ),
}


@pytest.mark.parametrize("name", KILLED)
def test_refused(name):
    call, error, text = KILLED[name]
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_the_largest_first_step_is_a_step_like_another():
    for first_step in (1, 2**63 - 1):
        rates = ops.replica_exchange(
            handle("sum"),
            torch.zeros(3, 2, 4),
            RISING.flip(0),
            handle("keep"),
            first_step=first_step,
            n_steps=3,
            generator=torch.Generator().manual_seed(1),
        )[1]
        assert torch.equal(rates, torch.ones(2).double())


# --- What is said of what is no dense tensor, or none at all ----------------------------------------

X = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])


def energy(x):
    return x.sum(1)


CALLS = {
    "gibbs": lambda x: torch_ebm.gibbs(energy, x),
    "CD": lambda x: torch_ebm.CD()(energy, x),
    "pseudolikelihood": lambda x: torch_ebm.pseudolikelihood(energy, x),
    "base_rate_bias": torch_ebm.base_rate_bias,
    "r_hat": torch_ebm.r_hat,
    "RBM.forward": torch_ebm.RBM(3, 2),
    "ais": lambda x: torch_ebm.ais(torch_ebm.RBM(3, 2), base_visible_bias=x),
}


#: Operators of torch's operations, which a weight with a graph brings past the dispatcher's refusal.
WITH_BETA = {
    "rbm_free_energy": lambda beta: torch.ops.torch_ebm.rbm_free_energy(
        X, *torch_ebm.RBM(3, 2).parameters(), beta
    ),
    "log_partition": lambda w: ops.log_partition(torch.ones(2, requires_grad=True), None, w),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", WITH_BETA)
def test_operators_with_a_graph_refuse_tensors_that_are_not_dense(name):
    for beta in (torch.ones(2).to_sparse(), torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)):
        with pytest.raises(TypeError, match=f"{name}: (beta|weights) must be a dense tensor, got"):
            WITH_BETA[name](beta)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: X.to_sparse(), "a dense tensor, got one of layout .*; use .to_dense()"),
        (lambda: X.to_sparse_csr(), "a dense tensor, got one of layout .*; use .to_dense()"),
        (lambda: X.to_mkldnn(), "a dense tensor, got one of layout .*; use .to_dense()"),
        (lambda: torch.quantize_per_tensor(X, 1.0, 0, torch.qint8), "a dense tensor, got a quantized one"),
        (lambda: X.numpy(), "a tensor.*, got ndarray; see torch.as_tensor"),
        (lambda: X.tolist(), "a tensor.*, got list; see torch.as_tensor"),
        (lambda: "text", "a tensor.*, got 'text'"),
        (lambda: energy, "a tensor.*, got function"),
    ],
    ids=["sparse", "csr", "mkldnn", "quantized", "numpy", "list", "text", "function"],
)
def test_one_sentence_says_what_an_argument_must_be(name, make, text):
    with pytest.raises(TypeError, match="must be " + text) as raised:
        CALLS[name](make())
    message = str(raised.value)
    assert len(message) < 130 and "\n" not in message


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: torch_ebm.gibbs(energy, X, n_steps=1.5), "gibbs: n_steps must be an integer, got"),
        (lambda: torch_ebm.gibbs(energy, X, n_steps=2**70), "gibbs: n_steps must be an integer"),
        (lambda: torch_ebm.gibbs(energy, X, scan=3), "gibbs: scan must be a string, got 3"),
        (lambda: torch_ebm.gibbs(energy, X, generator=3), "must be a torch.Generator, got 3"),
        (lambda: torch_ebm.gibbs(energy, X, clamp=[True]), "clamp must be a tensor, got list"),
        (lambda: torch_ebm.PCD(3, 4), "PCD: shape must be a sequence of integers, got 4"),
        (lambda: torch_ebm.exact_log_z(energy, 3, dtype="float"), "dtype must be a torch.dtype"),
        (lambda: torch_ebm.mbar(np.ones((2, 4)), X), "mbar: energies must be a tensor, got nd"),
    ],
)
def test_other_types_are_named_in_one_sentence(call, text):
    with pytest.raises(TypeError, match=re.escape(text)):
        call()


def test_a_user_s_own_error_keeps_its_type_and_words():
    class Own(RuntimeError):
        pass

    def failing(x):
        raise Own("mine")

    for x in (X, X.tolist()):
        with pytest.raises((Own, TypeError), match="mine" if x is X else "x must be a tensor"):
            torch_ebm.gibbs(failing, x)


@pytest.mark.parametrize("device", ["meta"])
def test_a_meta_tensor_is_not_implemented_in_one_sentence(device):
    with pytest.raises(NotImplementedError) as raised:
        torch_ebm.gibbs(energy, X.to(device))
    assert str(raised.value) == "gibbs: x must hold values, got a meta tensor"


@pytest.mark.parametrize("sampler", ["hmc", "nuts", "langevin", "gibbs_with_gradients"])
def test_a_start_outside_the_support_is_not_blamed_on_the_step_size(sampler):
    options = {} if sampler == "gibbs_with_gradients" else {"step_size": 0.1}
    with pytest.raises(ValueError, match="is not finite at step 0; chains must start where"):
        getattr(torch_ebm, sampler)(lambda x: x.sum(1) * torch.inf, X, **options)


def test_scripted_modules_of_other_signatures_are_named():
    class Takes1(torch.nn.Module):
        def forward(self, x: torch.Tensor):
            return x

        @torch.jit.export
        def gibbs(self, x: torch.Tensor):
            return x

    module = torch.jit.script(Takes1())
    with pytest.raises(TypeError, match="sampler: its method forward must take a Tensor, a Tensor"):
        ops.anneal(handle("sum"), torch.zeros(3, 4), RISING, module)
    with pytest.raises(TypeError, match="energy: its method gibbs must take a Tensor, .*n_steps"):
        torch_ebm.gibbs(module, X)


# --- Tensors made in inference mode, which autograd does not save ------------------------------------

PARAMETERS = {
    "rbm_energy": ((X, torch.ones(2, 2)), lambda: torch_ebm.RBM(3, 2)),
    "rbm_free_energy": ((X,), lambda: torch_ebm.RBM(3, 2)),
    "rbm_flip_differences": ((X,), lambda: torch_ebm.RBM(3, 2)),
    "boltzmann_energy": ((X,), lambda: torch_ebm.BoltzmannMachine(3)),
    "boltzmann_flip_differences": ((X,), lambda: torch_ebm.BoltzmannMachine(3)),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_states_made_in_inference_mode_are_served(name):
    states, make = PARAMETERS[name]
    results = []
    for mode in (torch.inference_mode(), torch.no_grad()):
        torch.manual_seed(1)
        parameters = list(make().parameters())
        with mode:
            copies = [x.clone() for x in states]
        value = getattr(ops, name)(*copies, *parameters)
        value.square().sum().backward()
        results.append([value.detach(), *(p.grad for p in parameters)])
    for of_inference, expected in zip(*results):
        assert torch.equal(of_inference, expected)


def test_an_mlp_serves_them_too():
    with torch.inference_mode():
        x = X.clone()
    mlp = torch_ebm.MLP([3, 4, 1])
    mlp(x).sum().backward()
    assert mlp.layers[0].weight.grad.abs().sum() > 0


# --- What an energy returns, where Python calls it ---------------------------------------------------

NOT_ENERGIES = {
    "a dtype": (lambda x: torch.float32, TypeError, "energy must return a tensor of shape (N,), got"),
    "a truth": (lambda x: True, TypeError, "energy must return a tensor of shape (N,), got bool"),
    "integers": (lambda x: torch.ones(len(x)).long(), TypeError, "must have a floating dtype"),
    "a column": (lambda x: x.sum(1, keepdim=True), ValueError, "must have shape (N,) = ("),
    "one number": (lambda x: x.sum(), ValueError, "must have shape (N,) = ("),
}
TAKE_ENERGIES = {
    "model_noise": lambda energy: torch_ebm.model_noise(energy, X, X.unsqueeze(1)),
    "log_partition": lambda energy: torch_ebm.log_partition(energy, X),
    "recovery_energy": lambda energy: torch_ebm.recovery_energy(energy, X, sigma=0.5)(X),
    "check_keeps_law": lambda energy: torch_ebm.testing.check_keeps_law(
        lambda energy, x, *, generator: x, energy, X
    ),
}


@pytest.mark.parametrize("what", NOT_ENERGIES)
@pytest.mark.parametrize("name", TAKE_ENERGIES)
def test_what_is_no_energy_is_named_where_python_calls_it(name, what):
    energy, error, text = NOT_ENERGIES[what]
    with pytest.raises(error, match=re.escape(text)):
        TAKE_ENERGIES[name](energy)


def test_an_operator_leaves_x_as_it_was_when_it_refuses_an_energy_that_changes_it():
    x = X.clone()
    with pytest.raises(ValueError, match="must not change x in place"):
        torch_ebm.energy.energy.energy_at(lambda x: x.add_(1).sum(1), x)
    assert torch.equal(x, X)


def test_log_z_of_a_noise_criterion_on_the_meta_device_is_named():
    noise = {
        "noise": torch.zeros(2, 1, 3),
        "noise_log_prob": torch.zeros(2, 1),
        "data_log_prob": torch.zeros(2),
    }
    with pytest.raises(NotImplementedError, match="nce: log_z must hold values, got a meta tensor"):
        ops.nce(handle("sum"), X, **noise, log_z=torch.zeros((), device="meta"))
