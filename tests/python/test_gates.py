"""What every operator must pass. Each is listed once, in OPS; a new one fails until it is."""

import warnings
from typing import Callable, NamedTuple

import pytest
import torch
from torch.utils import _pytree as pytree

import torch_ebm
from criteria_table import CRITERIA, operator
from energies import Network
from known_values import all_states, random_rbm, seeded

ops = torch.ops.torch_ebm
V, H = 5, 4
BETAS = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)


def normal(*size, dtype):
    return torch.randn(*size, dtype=dtype)


def bits(*size, dtype):
    return torch.bernoulli(torch.full(size, 0.5)).to(dtype)


def weights(dtype):
    return normal(V, H, dtype=dtype), normal(V, dtype=dtype), normal(H, dtype=dtype)


def knots(dtype):
    n = len(BETAS)
    return normal(n, V, H, dtype=dtype), normal(n, V, dtype=dtype), normal(n, H, dtype=dtype)


def layers(dtype):
    shapes = [(H, V), (3, H), (1, 3)]
    return [normal(*s, dtype=dtype) for s in shapes], [normal(s[0], dtype=dtype) for s in shapes]


def square_weights(dtype):
    return normal(V, V, dtype=dtype), normal(V, dtype=dtype)


def lattice(dtype):
    return (
        normal(3, 2, 2, dtype=dtype),
        normal(3, 2, 2, 2, dtype=dtype),
        normal(3, 1, 2, 2, dtype=dtype),
    )


class Op(NamedTuple):
    arguments: Callable  # (dtype, batch size) -> tensors, all positional
    options: Callable = lambda n: {}  # keyword arguments for batch size n
    differentiable: bool = False  # in every argument
    random: bool = False
    outputs: int = 1
    empty: bool = False  # serves an empty batch


DIAGNOSTICS = [
    "r_hat",
    "ess_bulk",
    "ess_tail",
    "ess_mean",
    "mcse_mean",
    "autocorrelation_time",
    "autocorrelation",
]

OPS = {
    "rbm_energy": Op(
        lambda t, n: (bits(n, V, dtype=t), bits(n, H, dtype=t), *weights(t)),
        differentiable=True,
        empty=True,
    ),
    "rbm_free_energy": Op(
        lambda t, n: (bits(n, V, dtype=t), *weights(t)), differentiable=True, empty=True
    ),
    "rbm_gibbs": Op(
        lambda t, n: (bits(n, V, dtype=t), *weights(t)),
        lambda n: {"n_steps": 2, "beta": torch.rand(n), "clamp": torch.rand(n, V) < 0.3},
        random=True,
        outputs=2,
    ),
    "rbm_sample": Op(lambda t, n: (*weights(t), n), random=True),
    "base_rate_bias": Op(lambda t, n: (bits(n, V, dtype=t),), empty=True),
    "boltzmann_energy": Op(
        lambda t, n: (bits(n, V, dtype=t), *square_weights(t)), differentiable=True, empty=True
    ),
    "boltzmann_gibbs": Op(
        lambda t, n: (bits(n, V, dtype=t), *square_weights(t)),
        lambda n: {"n_steps": 2, "beta": torch.rand(n), "clamp": torch.rand(n, V) < 0.3},
        random=True,
    ),
    "boltzmann_gibbs_with_gradients": Op(
        lambda t, n: (bits(n, V, dtype=t), *square_weights(t)),
        lambda n: {"n_steps": 2, "beta": torch.rand(n)},
        random=True,
        outputs=2,
    ),
    "mlp_value_and_score": Op(
        lambda t, n: (normal(n, V, dtype=t), *layers(t), "softplus", 0.5), outputs=2, empty=True
    ),
    "langevin_update": Op(
        lambda t, n: (normal(n, V, dtype=t), normal(n, V, dtype=t), 0.1),
        lambda n: {"noise_scale": 0.5},
        random=True,
    ),
    "log_partition": Op(lambda t, n: (normal(n, dtype=t),), differentiable=True),
    "rbm_log_z": Op(lambda t, n: weights(t), differentiable=True),
    "lattice_log_z": Op(lambda t, n: lattice(t), differentiable=True),
    "gaussian_log_z": Op(
        lambda t, n: (normal(V, V, dtype=t) + 5 * torch.eye(V, dtype=t), normal(V, dtype=t)),
        differentiable=True,
    ),
    "rbm_ais": Op(
        lambda t, n: (*weights(t), normal(V, dtype=t), BETAS),
        lambda n: {"n_chains": n},
        random=True,
        outputs=2,
    ),
    "rbm_path_at": Op(
        lambda t, n: (*knots(t), BETAS, torch.tensor(0.4, dtype=t)),
        outputs=3,
    ),
    "moment_averaged_rbms": Op(
        lambda t, n: (*weights(t), normal(V, dtype=t)),
        lambda n: {"n_knots": 4, "n_model_steps": 4, "n_updates": 3},
        random=True,
        outputs=4,
    ),
    "log_z_from_weights": Op(lambda t, n: (normal(n, dtype=t), torch.tensor(0.5, dtype=t))),
    "bridge_sampling": Op(lambda t, n: (normal(n, dtype=t), normal(n, dtype=t))),
    "thermodynamic_integration": Op(
        lambda t, n: (torch.linspace(0, 1, 4, dtype=t), normal(4, n, dtype=t))
    ),
    "mbar": Op(lambda t, n: (normal(3, n, dtype=t), torch.tensor([2, 0, n - 2])), outputs=3),
    "mbar_weights": Op(lambda t, n: (normal(3, n, dtype=t), torch.tensor([2, 0, n - 2]))),
    "mbar_expectation": Op(
        lambda t, n: (normal(3, n, dtype=t), torch.tensor([2, 0, n - 2]), normal(n, 2, dtype=t)),
        outputs=2,
    ),
    **{name: Op(lambda t, n: (normal(7, 3, n, 2, dtype=t),)) for name in DIAGNOSTICS},
    "adapt_ladder": Op(
        lambda t, n: (torch.linspace(1, 0, n + 1, dtype=t), torch.linspace(0.2, 0.7, n, dtype=t))
    ),
    "round_trips": Op(lambda t, n: (torch.rand(9, 3, n).argsort(1),)),
    "start_states": Op(
        lambda t, n: ("normal", [n, V]),
        lambda n: {"dtype": torch.float64},
        random=True,
    ),
}
# Those that take an energy: tested by DRIVERS below, and in files of their own.
DRIVER_OPS = {
    "gibbs",
    "gibbs_with_gradients",
    "discrete_langevin",
    "langevin",
    "underdamped_langevin",
    "mala",
    "hmc",
    "nuts",
    "warm_up",
    "replica_exchange",
    "tempered_transitions",
    "tempered_log_z",
    "ladder_energies",
    "tune_ladder",
    "unbiased_cd",
    "exact_log_z",
    "anneal",
    "linked_ais",
    "adaptive_schedule",
    "tune_path",
    "tuned_step",
    "quadrature_log_z",
    "log_likelihood",
    "compare_log_likelihoods",
}
# Differentiable in the parameters alone: tested in test_flip_differences.py.
FLIPS = {
    "rbm_flip_differences",
    "_rbm_flip_sums",
    "_rbm_flip_sums_backward",
    "boltzmann_flip_differences",
}
NO_TENSORS = {
    "log_z_warning",
    "overlap_warning",
    "linear_schedule",
    "salakhutdinov_murray_schedule",
    "sigmoid_schedule",
    "sandwich_warning",
    "version",
    "built_for_torch",
    "cpu_kernels",
}
# What LogZTracker is made of: tested in test_log_z_tracker.py.
TRACKS = {
    "log_z_track",
    "track_log_z",
    "anchor_log_z",
    "tracked_log_z",
    "rung_log_z",
    "log_z_track_warning",
}
# Made of lattice_log_z: tested in test_lattice_log_z.py.
LATTICES = {"ising_log_z"}
# The test kit: tested in test_testing.py.
TESTS = {
    "enumerate_states",
    "exact_law",
    "chi_square_check",
    "mean_check",
    "check_invariance",
    "check_convergence",
    "transition_counts",
    "check_transitions",
    "check_detailed_balance",
    "check_keeps_law",
}
# Gives a sentence: tested in test_ais.py.
WARNINGS = {"rbm_base_warning"}
INTERNAL = {
    "_hold_annealed_energy",
    "_hold_boltzmann_machine",
    "_hold_mlp",
    "_hold_rbm",
    "_release_energy",
    "_betas_to_model",
    "_call_energy",
    "_call_energy_method",
    "_call_sampler",
    "_chains_by_weight",
    "_check_annealing_start",
    "_check_replicas",
    "_default_sampler",
    "_draw_key",
    "_effective_number",
    "_energy_at",
    "_energy_has",
    "_exact_replicas",
    "_independent_weights",
    "_log_z_of_base",
    "_moved_at_model",
    "_n_pilot_chains",
    "_normal_numbers",
    "_pilot_run",
    "_progress",
    "_raised_log_likelihood",
    "_rbm_has_exact_samples",
    "_rbm_log_z_base",
    "_rbm_path_betas",
    "_run_sampler",
    "_sandwich_bridge",
    "_uniform_numbers",
    "_use_torch_passes",
}

TENSOR_OPS = [name for name in OPS if name != "start_states"]
DIFFERENTIABLE = [name for name, op in OPS.items() if op.differentiable]
RANDOM = [name for name, op in OPS.items() if op.random]

EVERY_OP = pytest.mark.parametrize("name", OPS)
EVERY_TENSOR_OP = pytest.mark.parametrize("name", TENSOR_OPS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def call(name, arguments, options):
    """Calls with a fixed seed, if it is random; results as a tuple."""
    if OPS[name].random:
        options = {**options, "generator": seeded(7)}
    result = getattr(ops, name)(*arguments, **options)
    return result if isinstance(result, tuple) else (result,)


def inputs(name, dtype=torch.float64, n=6):
    torch.manual_seed(3)
    return OPS[name].arguments(dtype, n), OPS[name].options(n)


def map_tensors(function, values):
    """`values`: arguments, some of which may be lists of tensors."""
    return pytree.tree_map_only(torch.Tensor, function, tuple(values))


def tensors_in(values):
    return [v for v in pytree.tree_leaves(values) if isinstance(v, torch.Tensor)]


def requiring_grad(tensor):
    return tensor.clone().requires_grad_(tensor.is_floating_point())


def strided(tensor):
    """The same values with other strides: every second element of a wider tensor."""
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def assert_equal(results, expected):
    for one, other in zip(tensors_in(results), tensors_in(expected), strict=True):
        assert torch.equal(one, other)


def test_every_operator_is_listed():
    defined = {
        name.removeprefix("torch_ebm::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("torch_ebm::")
    }
    criteria = set(map(operator, CRITERIA))
    assert (
        defined
        == set(OPS)
        | DRIVER_OPS
        | criteria
        | FLIPS
        | LATTICES
        | WARNINGS
        | TRACKS
        | TESTS
        | NO_TENSORS
        | INTERNAL
    )


# --- Tensor operators -----------------------------------------------------------------------------


def kinds_of_input():
    """Float once an operator: what it decides is the dtype of the results, whatever the kind."""
    for name, op in OPS.items():
        kinds = ["plain", "requires_grad", "strided"]
        kinds += ["empty"] * op.empty + ["generator"] * op.random
        yield name, "plain", torch.float32
        yield from ((name, kind, torch.float64) for kind in kinds)


# opcheck looks at the .grad of what a composite hands to an operator within it.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name, kind, dtype", list(kinds_of_input()))
def test_opcheck(name, kind, dtype):
    arguments, options = inputs(name, dtype, n=0 if kind == "empty" else 6)
    checks = list(torch.library._OPCHECK_DEFAULT_UTILS)
    if kind == "requires_grad":
        arguments = map_tensors(requiring_grad, arguments)
    elif kind == "strided":
        arguments = map_tensors(strided, arguments)
    elif kind == "generator":
        options = {**options, "generator": seeded()}
        checks.remove("test_aot_dispatch_dynamic")  # runs it twice, and the generator advances
    torch.library.opcheck(getattr(ops, name).default, arguments, options, test_utils=checks)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_and_second_derivatives_in_all_arguments(name):
    arguments, options = inputs(name, n=3)
    arguments = map_tensors(lambda t: t.clone().requires_grad_(), arguments)
    assert torch.autograd.gradcheck(getattr(ops, name), arguments)
    assert torch.autograd.gradgradcheck(getattr(ops, name), arguments)


@EVERY_TENSOR_OP
def test_outputs_of_samplers_and_estimates_carry_no_gradient(name):
    arguments, options = inputs(name)
    arguments = map_tensors(requiring_grad, arguments)
    for result in call(name, arguments, options):
        assert result.requires_grad == OPS[name].differentiable
    assert all(t.grad is None for t in tensors_in(arguments))


SCRIPTS = {
    "rbm_energy": "v: Tensor, h: Tensor, w: Tensor, b: Tensor, c: Tensor",
    "rbm_free_energy": "v: Tensor, w: Tensor, b: Tensor, c: Tensor",
    "rbm_gibbs": "v: Tensor, w: Tensor, b: Tensor, c: Tensor",
    "rbm_sample": "w: Tensor, b: Tensor, c: Tensor, n: int",
    "base_rate_bias": "data: Tensor",
    "boltzmann_energy": "x: Tensor, w: Tensor, b: Tensor",
    "boltzmann_gibbs": "x: Tensor, w: Tensor, b: Tensor",
    "boltzmann_gibbs_with_gradients": "x: Tensor, w: Tensor, b: Tensor",
    "mlp_value_and_score": "x: Tensor, weights: List[Tensor], biases: List[Tensor], "
    "activation: str, confinement: float",
    "langevin_update": "x: Tensor, score: Tensor, step_size: float",
    "log_partition": "energies: Tensor",
    "rbm_log_z": "w: Tensor, b: Tensor, c: Tensor",
    "rbm_ais": "w: Tensor, b: Tensor, c: Tensor, base: Tensor, betas: Tensor",
    "rbm_path_at": "w: Tensor, b: Tensor, c: Tensor, betas: Tensor, beta: Tensor",
    "moment_averaged_rbms": "w: Tensor, b: Tensor, c: Tensor, base: Tensor",
    "lattice_log_z": "site: Tensor, along: Tensor, across: Tensor",
    "gaussian_log_z": "precision: Tensor, linear: Tensor",
    "log_z_from_weights": "log_w: Tensor, base: Tensor",
    "bridge_sampling": "at_0: Tensor, at_1: Tensor",
    "mbar": "energies: Tensor, counts: Tensor",
    "mbar_weights": "energies: Tensor, counts: Tensor",
    "mbar_expectation": "energies: Tensor, counts: Tensor, values: Tensor",
    "thermodynamic_integration": "betas: Tensor, derivatives: Tensor",
    **{name: "x: Tensor" for name in DIAGNOSTICS},
    "adapt_ladder": "betas: Tensor, swap_rate: Tensor",
    "round_trips": "replica_trace: Tensor",
    "start_states": "law: str, size: List[int]",
}


def scripted(name, twice=False):
    parameters = SCRIPTS[name]
    arguments = ", ".join(part.split(":")[0] for part in parameters.split(", "))
    if name == "rbm_ais":
        arguments += ", n_chains=6"
    expression = f"torch.ops.torch_ebm.{name}({arguments})"
    if twice:
        # Consumed here: calls whose results leave the function are not merged in any case.
        first = f"{expression}[0]" if OPS[name].outputs > 1 else expression
        expression = f"({first} - {first}).abs().sum()"
    return torch.jit.CompilationUnit(f"def f({parameters}):\n    return {expression}\n").f


@EVERY_OP
def test_scripted_equals_eager(name):
    arguments, _ = inputs(name)
    options = {"n_chains": 6} if name == "rbm_ais" else {}
    torch.manual_seed(5)
    eager = getattr(ops, name)(*arguments, **options)
    for _ in range(3):  # the profiling executor optimises after the first calls
        torch.manual_seed(5)
        result = scripted(name)(*arguments)
        if isinstance(eager, torch.Tensor):
            assert torch.equal(result, eager)
        else:
            assert_equal(result, eager)


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_operator_drawn_twice_in_one_scripted_function_differs(name):
    # TorchScript merges equal calls of an operator that it believes to be a pure function.
    arguments, _ = inputs(name, n=200)
    function = scripted(name, twice=True)
    for _ in range(3):
        assert function(*arguments) > 0


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_func_grad_and_vmap_agree_with_autograd_and_a_loop(name):
    arguments, _ = inputs(name, n=3)
    batches = [torch.stack([t, t + 0.1]) for t in arguments]
    function = getattr(ops, name)
    positions = tuple(range(len(arguments)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # vmap warns where it falls back to a loop
        values = torch.vmap(function)(*batches)
        gradients = torch.vmap(torch.func.grad(lambda *t: function(*t).sum(), argnums=positions))(
            *batches
        )
    for i in range(2):
        leaves = [b[i].clone().requires_grad_() for b in batches]
        value = function(*leaves)
        torch.testing.assert_close(values[i], value)
        for one, other in zip(gradients, torch.autograd.grad(value.sum(), leaves), strict=True):
            torch.testing.assert_close(one[i], other)


@EVERY_TENSOR_OP
def test_no_grad_and_inference_mode_change_nothing(name):
    arguments, options = inputs(name)
    expected = call(name, arguments, options)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            # Tensors made here too: those made in inference mode are of another kind.
            copies = map_tensors(torch.clone, arguments)
            assert_equal(call(name, copies, options), expected)


@EVERY_DTYPE
@EVERY_TENSOR_OP
def test_strides_change_nothing(name, dtype):
    arguments, options = inputs(name, dtype)
    results = call(name, map_tensors(strided, arguments), options)
    for one, other in zip(results, call(name, arguments, options), strict=True):
        torch.testing.assert_close(one, other)  # sums may be taken in another order


@EVERY_TENSOR_OP
def test_arguments_are_left_alone(name):
    arguments, options = inputs(name)
    before = map_tensors(torch.clone, arguments)
    call(name, arguments, options)
    assert_equal(arguments, before)


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides_and_advances(name):
    arguments, options = inputs(name, n=200)
    function, generator = getattr(ops, name), seeded(8)

    def draw(generator):
        result = function(*arguments, **options, generator=generator)
        return result if isinstance(result, torch.Tensor) else result[0]

    one, two = draw(generator), draw(generator)
    again = seeded(8)
    assert torch.equal(one, draw(again)) and torch.equal(two, draw(again))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", RANDOM)
def test_a_compiled_random_operator_draws_anew_in_every_call(name):
    arguments, options = inputs(name, n=200)
    compiled = torch.compile(
        lambda: getattr(ops, name)(*arguments, **options), fullgraph=True, backend="aot_eager"
    )
    one, other = compiled(), compiled()
    assert not torch.equal(*(r if isinstance(r, torch.Tensor) else r[0] for r in (one, other)))


# --- Threads and batches --------------------------------------------------------------------------


def big_rbm(dtype=torch.float32):
    return random_rbm(200, 150, 0.05, seed=9, dtype=dtype)


def chains_of(driver, n_chains, dtype=torch.float64):
    """States of chains wide enough to be split over threads."""
    rbm, start = big_rbm(dtype), (torch.arange(200) % 2).to(dtype).expand(n_chains, -1)
    network = Network(200, dtype)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.linspace(-0.1, 0.1, p.numel(), dtype=dtype).view_as(p))
    if driver == "rbm_gibbs":
        return rbm.gibbs(start, 3, generator=seeded(1))
    if driver == "rbm_ais":
        base = torch.zeros(200, dtype=dtype)
        return ops.rbm_ais(
            rbm.weight,
            rbm.visible_bias,
            rbm.hidden_bias,
            base,
            BETAS,
            n_chains=n_chains,
            generator=seeded(1),
        )[1]
    if driver == "gibbs":
        return torch_ebm.gibbs(lambda x: x[:, :5].sum(1), start, generator=seeded(1)).x
    return torch_ebm.langevin(network, start, n_steps=3, step_size=0.1, generator=seeded(1)).x


DRAWING = pytest.mark.parametrize("driver", ["rbm_gibbs", "rbm_ais", "gibbs", "langevin"])


@EVERY_DTYPE
@DRAWING
def test_the_number_of_threads_changes_no_bit(driver, dtype):
    results = []
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        results.append(chains_of(driver, 700, dtype))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_the_number_of_threads_changes_log_weights_by_roundings_alone():
    # Matrix-vector products in single precision are summed in another order.
    rbm, results = big_rbm(), []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        results.append(torch_ebm.ais(rbm, n_chains=700, betas=BETAS, generator=seeded(1)))
    torch.testing.assert_close(results[0].log_weights, results[1].log_weights, rtol=1e-6, atol=1e-5)


@DRAWING
def test_a_chain_is_the_same_in_a_small_batch_and_in_a_large_one(driver):
    large = chains_of(driver, 700)
    for n_chains in (1, 2, 99):
        small = chains_of(driver, n_chains)
        if driver != "langevin":
            assert torch.equal(small, large[:n_chains])
        else:  # real numbers: matrix products of other sizes round otherwise
            torch.testing.assert_close(small, large[:n_chains], rtol=1e-12, atol=1e-12)


def test_a_chain_in_single_precision_is_the_same_but_for_rare_roundings():
    # The random numbers are the same. The inputs of units are not quite: a matrix product of
    # another size sums in another order. A unit flips if its uniform number lies between two probabilities
    # that differ in the last digits: once in 10^6 units, and then the chain goes its own way.
    large = chains_of("rbm_gibbs", 700, torch.float32)
    for n_chains in (1, 2, 99):
        same = (chains_of("rbm_gibbs", n_chains, torch.float32) == large[:n_chains]).all(1)
        assert same.double().mean() > 0.98


# --- Drivers: operators that take an energy -------------------------------------------------------


def network():
    torch.manual_seed(2)
    return Network(3, torch.float64)


def squared_score(energy):
    """An energy that needs autograd to be computed at all."""

    def function(x):
        with torch.enable_grad():
            leaf = x if x.requires_grad else x.detach().clone().requires_grad_()
            (score,) = torch.autograd.grad(energy(leaf).sum(), leaf, create_graph=True)
        return 0.5 * score.square().sum(1)

    return function


def driven(sampler, **options):
    return lambda e: sampler(e, torch.zeros(9, 3).double(), generator=seeded(1), **options).x


DRIVERS = {
    "gibbs": driven(torch_ebm.gibbs),
    "gibbs_with_gradients": driven(torch_ebm.gibbs_with_gradients, n_steps=3),
    "discrete_langevin": driven(torch_ebm.discrete_langevin, step_size=1.0),
    "langevin": driven(torch_ebm.langevin),
    "underdamped_langevin": driven(torch_ebm.underdamped_langevin),
    "mala": driven(torch_ebm.mala),
    "hmc": driven(torch_ebm.hmc),
    "nuts": driven(torch_ebm.nuts),
    "warm_up": driven(torch_ebm.warm_up, n_steps=20),
    "unbiased_cd": lambda e: torch_ebm.UnbiasedCD(seed=5)(e, all_states(3)),
    "exact_log_z": lambda e: torch_ebm.exact_log_z(e, 3, dtype=torch.float64),
    "quadrature_log_z": lambda e: torch_ebm.quadrature_log_z(
        e, [-1] * 3, [1] * 3, n_panels=1, dtype=torch.float64
    ).log_z,
}
TAKING_SCORES = set(DRIVERS) - {"gibbs", "unbiased_cd", "exact_log_z", "quadrature_log_z"}
KINDS = {
    "callable": lambda: network().forward,
    "module": network,
    "scripted": lambda: torch.jit.script(network()),
    "autograd inside": lambda: squared_score(network()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_drivers_give_the_same_in_every_grad_mode(driver, kind):
    energy = KINDS[kind]()
    expected = DRIVERS[driver](energy)
    assert not expected.requires_grad
    with torch.no_grad():
        assert torch.equal(DRIVERS[driver](energy), expected)
    # Those that take no scores call the energy in the caller's mode.
    if kind != "autograd inside" or driver in TAKING_SCORES:
        with torch.inference_mode():
            assert torch.equal(DRIVERS[driver](energy), expected)


@pytest.mark.parametrize("driver", DRIVERS)
def test_drivers_leave_gradients_alone(driver):
    energy = network()
    energy.layer.weight.grad = torch.full_like(energy.layer.weight, 3)
    DRIVERS[driver](energy)
    assert (energy.layer.weight.grad == 3).all() and energy.layer.bias.grad is None


class GibbsTwice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = network()

    def forward(self, x: torch.Tensor):
        one = torch.ops.torch_ebm.gibbs(self.energy, x)[0]
        return (one - torch.ops.torch_ebm.gibbs(self.energy, x)[0]).abs().sum()


class LangevinTwice(GibbsTwice):
    def forward(self, x: torch.Tensor):
        one = torch.ops.torch_ebm.langevin(self.energy, x, step_size=0.01)[0]
        return (one - torch.ops.torch_ebm.langevin(self.energy, x, step_size=0.01)[0]).abs().sum()


@pytest.mark.parametrize("model", [GibbsTwice, LangevinTwice])
def test_a_driver_called_twice_in_a_scripted_model_draws_twice(model):
    scripted_model = torch.jit.script(model())
    for _ in range(3):
        assert scripted_model(torch.zeros(99, 3).double()) > 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_drivers_may_be_called_from_compiled_code(driver):
    energy = network()

    def function(x):
        return x + DRIVERS[driver](energy).sum()

    x = torch.ones(2)
    torch.testing.assert_close(torch.compile(function, backend="eager")(x), function(x))


# --- Compilation and export -----------------------------------------------------------------------


def test_a_compiled_rbm_equals_the_eager_one():
    rbm, v = random_rbm(V, H, 1.0, seed=4), all_states(V)
    compiled = torch.compile(rbm, fullgraph=True)
    torch.testing.assert_close(compiled(v), rbm(v))
    compiled(v).sum().backward()
    gradient = rbm.weight.grad.clone()
    rbm.zero_grad()
    rbm(v).sum().backward()
    torch.testing.assert_close(gradient, rbm.weight.grad)


def test_a_compiled_training_loss_has_the_same_value_and_gradient():
    rbm, data, negative = random_rbm(V, H, 1.0, seed=4), all_states(V)[:9], all_states(V)[9:]

    def loss(data, negative):
        return rbm(data).mean() + torch_ebm.log_partition(rbm, negative, rbm.log_z().detach())

    results = []
    for function in (loss, torch.compile(loss, fullgraph=True)):
        rbm.zero_grad()
        value = function(data, negative)
        value.backward()
        results.append((value.detach(), rbm.weight.grad.clone()))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)


def test_compiled_block_gibbs_draws_what_eager_draws():
    rbm, v = random_rbm(V, H, 1.0, seed=4), all_states(V)

    def function(v):
        return torch_ebm.rbm_gibbs(v, *rbm.parameters(), n_steps=3, beta=0.5)

    torch.manual_seed(6)
    expected = function(v)
    torch.manual_seed(6)
    assert_equal(torch.compile(function, fullgraph=True)(v), expected)


def test_an_exported_rbm_takes_any_batch():
    rbm = random_rbm(V, H, 1.0, seed=4)
    shapes = {"visible": {0: torch.export.Dim("n")}}
    program = torch.export.export(rbm, (all_states(V)[:7],), dynamic_shapes=shapes)
    for n in (1, 7, 32):
        v = all_states(V)[:n]
        torch.testing.assert_close(program.module()(v), rbm(v))


def test_exported_sampling_takes_any_batch():
    class Sampler(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rbm = random_rbm(V, H, 1.0, seed=4)

        def forward(self, visible):
            return self.rbm.gibbs(visible, 2)

    sampler = Sampler()
    shapes = {"visible": {0: torch.export.Dim("n")}}
    program = torch.export.export(sampler, (all_states(V)[:7],), dynamic_shapes=shapes)
    for n in (2, 32):
        torch.manual_seed(1)
        expected = sampler(all_states(V)[:n])
        torch.manual_seed(1)
        assert torch.equal(program.module()(all_states(V)[:n]), expected)
