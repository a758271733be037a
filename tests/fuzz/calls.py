"""What is called: every operator, by its schema, and every public Python name, by its signature."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable
from typing import Any, Optional

import torch
import values as v
from values import D, H, N, R

import torch_ebm
from torch_ebm.energy.energy import Registration, registered

#: How a call's arguments are made, each with its share: all fit; one or two are bent; all are.
SPOILED = [0, 0, 1, 1, 1, 1, 1, 2, 2, 100]


def binary(*shape: int) -> torch.Tensor:
    return torch.randint(2, shape).float()


def ladder() -> torch.Tensor:
    return torch.linspace(1, 0.2, R)


def path() -> torch.Tensor:
    return torch.linspace(0, 1, R)


def knots(*shape: int) -> torch.Tensor:
    values = 0.1 * torch.randn(R, *shape)
    values[0] = 0
    return values


def rbm() -> torch_ebm.RBM:
    return torch_ebm.RBM(D, H)


def normal_base() -> Any:
    one = torch.distributions.Normal(torch.zeros(D), torch.ones(D))
    return torch.distributions.Independent(one, 1)


def bernoulli_base() -> Any:
    one = torch.distributions.Bernoulli(torch.full((D,), 0.5))
    return torch.distributions.Independent(one, 1)


def estimate() -> torch_ebm.LogZEstimate:
    return torch_ebm.log_z_from_weights(torch.randn(9).double(), torch.tensor(0.0))


def track() -> list[torch.Tensor]:
    chains, betas = binary(R, N, D), ladder()
    new = torch.ops.torch_ebm.log_z_track(chains, betas)
    with registered(lambda x: 0.1 * x.sum(1)) as energy:
        return list(torch.ops.torch_ebm.track_log_z(new, energy, energy, chains, betas))


def states() -> torch.Tensor:
    return torch_ebm.testing.enumerate_states((D,), dtype=torch.float32)


#: What fits an argument of this name, of any call.
FITTING: dict[str, Callable[[], Any]] = {
    "x": lambda: binary(N, D),
    "visible": lambda: binary(N, D),
    "positive": lambda: binary(N, D),
    "negative": lambda: binary(N, D),
    "start": lambda: binary(N, D),
    "data": lambda: binary(N, D),
    "noisy": lambda: torch.randn(N, D),
    "hidden": lambda: binary(N, H),
    "hidden_input": lambda: torch.randn(N, H),
    "weight": lambda: 0.1 * torch.randn(D, H),
    "visible_bias": lambda: torch.randn(D),
    "base_visible_bias": lambda: torch.zeros(D),
    "hidden_bias": lambda: torch.randn(H),
    "bias": lambda: torch.randn(D),
    "weights": lambda: torch.rand(N) + 0.1,
    "score": lambda: torch.randn(N, D),
    "gradient": lambda: torch.randn(N, D),
    "sites": lambda: torch.randint(D, (N, 2)),
    "clamp": lambda: torch.rand(N, D) < 0.3,
    "blocks": lambda: torch.arange(D).view(2, 2),
    "inverse_mass": lambda: torch.rand(D) + 0.5,
    "beta": lambda: torch.tensor(0.5),
    "betas": path,
    "swap_rate": lambda: torch.rand(R - 1),
    "law": lambda: "bernoulli",
    "size": lambda: [N, D],
    "shape": lambda: (D,),
    "step_size": lambda: 0.1,
    "sigma": lambda: 0.5,
    "t": lambda: 0.1,
    "flip_probability": lambda: None,
    "noise": lambda: torch.randn(N, 2, D),
    "noise_log_prob": lambda: torch.randn(N, 2),
    "data_log_prob": lambda: torch.randn(N),
    "log_ratio": lambda: torch.randn(N, 2),
    "negative_samples": lambda: binary(N, D),
    "negative_weights": lambda: torch.rand(N),
    "negative_energies": lambda: torch.randn(N),
    "positive_energies": lambda: torch.randn(N),
    "log_z": lambda: torch.tensor(0.0),
    "log_z_a": lambda: torch.tensor(0.0),
    "log_z_b": lambda: torch.tensor(0.0),
    "log_z_base": lambda: torch.tensor(0.0),
    "log_weights": lambda: torch.randn(N).double(),
    "log_ratios": lambda: torch.randn(R - 1).double(),
    "log_ratio_0": lambda: torch.randn(9).double(),
    "log_ratio_1": lambda: torch.randn(9).double(),
    "energies": lambda: torch.rand(R, 9).double(),
    "counts": lambda: torch.full((R,), 3),
    "values": lambda: torch.rand(9, 2),
    "derivatives": lambda: torch.randn(R, 9).double(),
    "chains": lambda: binary(R, N, D),
    "track": track,
    "precision": lambda: torch.eye(D),
    "linear": lambda: torch.randn(D),
    "site_energy": lambda: torch.rand(3, 4, 2),
    "along": lambda: torch.rand(2, 4, 2, 2),
    "across": lambda: torch.rand(3, 3, 2, 2),
    "coupling": lambda: torch.tensor(0.3),
    "field": lambda: torch.tensor(0.1),
    "replica_trace": lambda: torch.arange(R).view(1, R, 1).repeat(5, 1, N),
    "low": lambda: [0.0],
    "high": lambda: [1.0],
    "bounds": lambda: (0.0, 1.0),
    "n_units": lambda: D,
    "dtype": lambda: torch.float32,
    "device": lambda: torch.device("cpu"),
    "generator": lambda: torch.Generator().manual_seed(1),
    "estimate": estimate,
    "module": rbm,
    "base": bernoulli_base,
    "noise_distribution": normal_base,
    "states": states,
    "exact_samples": lambda: torch.randn(N, D),
    "samples": lambda: torch.randn(9, D),
    "mean": lambda: torch.zeros(D),
    "probabilities": lambda: torch.rand(R),
    "transition_matrix": lambda: torch.full((R, R), 1 / R),
    "laws": lambda: torch.full((R, 2**D), 2.0**-D).double(),
    "state": lambda: [0.0],
    "n_categories": lambda: 2,
    "n_panels": lambda: 2,
    "n_steps": lambda: 2,
    "n_burn_in": lambda: 1,
    "n_rounds": lambda: 2,
    "n_chains": lambda: N,
    "n_visible": lambda: D,
    "n_hidden": lambda: H,
    "capacity": lambda: 8,
    "n": lambda: 3,
    "n_groups": lambda: 1,
    "n_knots": lambda: R,
    "n_updates": lambda: 2,
    "n_model_steps": lambda: 4,
    "n_samples": lambda: 2,
    "n_projections": lambda: 2,
    "n_noise": lambda: 2,
    "n_leapfrog": lambda: 2,
    "max_depth": lambda: 3,
    "max_steps": lambda: 20,
    "max_temperatures": lambda: 20,
    "conditional_ess": lambda: 0.9,
    "fast_learning_rate": lambda: 0.01,
    "batch_size": lambda: 2,
    "chunk_size": lambda: 2,
    "seed": lambda: 1,
    "n_sites": lambda: 2,
    "handle": lambda: -1,
    "method": lambda: "gibbs",
    "reduction": lambda: "none",
    "max_score": lambda: 1.0,
    "target_acceptance": lambda: 0.8,
}

#: What fits in calls whose name begins so; the longest beginning counts.
SPECIAL: dict[str, dict[str, Callable[[], Any]]] = {
    "boltzmann": {"weight": lambda: 0.1 * torch.randn(D, D)},
    "rbm_path_at": {
        "weight": lambda: knots(D, H),
        "visible_bias": lambda: knots(D),
        "hidden_bias": lambda: knots(H),
    },
    "mlp_value_and_score": {
        "weights": lambda: [torch.randn(5, D), torch.randn(1, 5)],
        "biases": lambda: [torch.randn(5), torch.randn(1)],
        "activation": lambda: "silu",
    },
    "MLP": {"activation": lambda: "silu", "hidden": lambda: (5,), "sizes": lambda: (D, 5, 1)},
    "FastPCD": {"energy": rbm},
    "linked_ais": {"x": lambda: binary(2, N, D)},
    "conditional_nce": {"sigma": lambda: None},
    "maximum_likelihood": {"log_z": lambda: None},
    "langevin": {"x": lambda: torch.randn(N, D), "low": lambda: -9.0, "high": lambda: 9.0},
    "score_matching": {"x": lambda: torch.rand(N, D), "low": lambda: 0.0, "high": lambda: 1.0},
    "replica_exchange": {"x": lambda: binary(R, N, D), "betas": ladder},
    "tempered_transitions": {"betas": ladder},
    "adapt_ladder": {"betas": ladder},
    "tune_ladder": {"x": lambda: binary(R, N, D), "betas": ladder},
    "ladder_energies": {"x": lambda: binary(R, N, D), "betas": ladder},
    "tempered_log_z": {
        "x": lambda: binary(R, N, D),
        "betas": ladder,
        "log_z_base": lambda: 0.0,
        "method": lambda: "mbar",
    },
    "log_z_track": {"betas": ladder},
    "track_log_z": {"betas": ladder, "log_z_base": lambda: 0.0},
    "LogZTracker": {"betas": ladder, "energy": rbm},
    "TemperedPCD": {"betas": ladder},
    "warm_up": {"x": lambda: torch.randn(N, D), "n_steps": lambda: 20, "sampler": lambda: "hmc"},
    "tune_path": {"x": lambda: torch.randn(N, D), "n_steps": lambda: 20, "sampler": lambda: "hmc"},
    "tuned_step": {
        "x": lambda: torch.randn(N, D),
        "sampler": lambda: "hmc",
        "step_size": lambda: torch.rand(R).double(),
        "inverse_mass": lambda: torch.rand(R, D) + 0.1,
    },
    "RBMPath": {
        "weight": lambda: knots(D, H),
        "visible_bias": lambda: knots(D),
        "hidden_bias": lambda: knots(H),
    },
    "_rbm_path": {
        "weight": lambda: knots(D, H),
        "visible_bias": lambda: knots(D),
        "hidden_bias": lambda: knots(H),
    },
    "_call_energy": {"handle": lambda: -1},
    "_hold_boltzmann_machine": {
        "weight": lambda: torch.randn(D, D),
        "bias": lambda: torch.randn(D),
    },
    "_hold_mlp": {
        "weights": lambda: [torch.randn(5, D), torch.randn(1, 5)],
        "biases": lambda: [torch.randn(5), torch.randn(1)],
        "activation": lambda: "silu",
    },
    "_hold_annealed_energy": {"logits": lambda: torch.randn(D), "base": lambda: -1},
    "_release_energy": {"handle": lambda: -1},
    "moment_averaged": {"rbm": rbm},
    "log_z_from_weights": {"log_weights": lambda: torch.randn(9).double()},
    "r_hat": {"x": lambda: torch.randn(9, N)},
    "ess_": {"x": lambda: torch.randn(9, N)},
    "mcse": {"x": lambda: torch.randn(9, N)},
    "autocorrelation": {"x": lambda: torch.randn(9, N)},
    "summary": {"x": lambda: torch.randn(9, N)},
    "quadrature_log_z": {"low": lambda: [-1.0, -1.0], "high": lambda: [1.0, 1.0]},
    "ising_log_z": {"size": lambda: [3, 4], "periodic": lambda: [True, False]},
    "start_states": {},
    "thermodynamic_integration": {"betas": path},
    "model_noise": {"negative_samples": lambda: binary(N, 2, D)},
    "nce": {"x": lambda: torch.randn(N, D)},
    "recovery": {"x": lambda: torch.randn(N, D)},
    "unbiased_cd": {"n_steps": lambda: 1},
    "chi_square_check": {"counts": lambda: torch.full((R,), 30)},
    "check_convergence": {"start": lambda: 1},
    "check_transitions": {"counts": lambda: torch.full((R, R), 30)},
    "check_detailed_balance": {
        "counts": lambda: torch.full((R, R), 30),
        "law": lambda: torch.full((R,), 1 / R),
    },
    "_exact_replicas": {"betas": lambda: [1.0, 0.5]},
    "_check_replicas": {"x": lambda: binary(R, 500, D)},
}

FITTING_BY_TYPE: dict[str, Callable[[random.Random], Any]] = {
    "int": lambda rng: rng.choice([1, 2, 3]),
    "float": lambda rng: rng.choice([0.1, 0.5, 1.0]),
    "bool": lambda rng: rng.random() < 0.5,
    "str": lambda rng: rng.choice(v.STRINGS),
    "Tensor": lambda rng: torch.randn(N, D),
}

#: Schema types whose values torch itself checks before an operator of ours is called.
DTYPE_NUMBERS = [-1, 6, 7, 15, 21, 44, 262, 1000, 2**31, 2**32 + 6, 2**63 - 1, -(2**63)]


def _special(name: str, argument: str) -> Optional[Callable[[], Any]]:
    fitting = [
        begin for begin in SPECIAL if name.startswith(begin) and argument in SPECIAL[begin]
    ]
    return SPECIAL[max(fitting, key=len)][argument] if fitting else None


def _has_fitting(name: str, argument: str) -> bool:
    return argument in FITTING or _special(name, argument) is not None


class Call:
    """One call: a function and its arguments, by name."""

    def __init__(self, name: str, function: Callable, arguments: dict[str, Any]) -> None:
        self.name = name
        self.function = function
        self.arguments = arguments
        self.keep: list[object] = []  # registrations of callables, valid while they live

    def __call__(self) -> Any:
        return self.function(**self.arguments)


# --- Operators --------------------------------------------------------------------------------------


def schemas() -> list[Any]:
    found = torch._C._jit_get_all_schemas()
    return sorted((s for s in found if s.name.startswith("torch_ebm::")), key=lambda s: s.name)


def _operator_argument(rng: random.Random, op: str, argument: Any, bend: bool, call: Call) -> Any:
    name, kind = argument.name, str(argument.type)
    optional = kind.startswith("Optional[")
    kind = kind.removeprefix("Optional[").removesuffix("]") if optional else kind
    if optional and rng.random() < (0.2 if bend else 0.6):
        return None
    special = _special(op, name) or FITTING.get(name)
    if kind == "Any" and name in ("energy", "energy_a", "energy_b", "previous", "sampler"):
        return _callable_argument(rng, name, bend, call)
    if name == "dtype":
        return rng.choice(DTYPE_NUMBERS) if bend else 6
    if kind == "Device":
        return torch.device(rng.choice(["cpu", "meta"] if bend else ["cpu"]))
    if not bend and special is not None:
        return special()
    if kind == "Tensor":
        like = special() if special is not None else torch.randn(N, D)
        like = like if isinstance(like, torch.Tensor) else torch.tensor(0.5)
        return v.any_tensor(rng) if rng.random() < 0.2 else v.bent(rng, like)
    if kind in ("int", "SymInt"):
        return v.integer(rng) if bend else rng.choice([1, 2, 3])
    if kind == "float":
        return rng.choice(v.FLOATS) if bend else 0.5
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "str":
        return rng.choice(v.STRINGS)
    if kind == "Generator":
        return torch.Generator()
    if kind == "Any":
        return v.plain_junk(rng) if rng.random() < 0.3 else v.bent(rng, torch.rand(N))
    length = rng.choice([0, 1, 2, 3]) if argument.N is None else argument.N
    if kind == "List[Tensor]":
        tensors = special() if special is not None else [torch.randn(N, D)] * length
        if tensors:
            place = rng.randrange(len(tensors))
            tensors[place] = v.bent(rng, tensors[place])
        return tensors[: rng.choice([len(tensors), len(tensors), 1, 0])]
    if kind == "List[int]":
        return [v.integer(rng) for _ in range(length)]
    if kind == "List[float]":
        return [rng.choice(v.FLOATS) for _ in range(length)]
    if kind == "List[bool]":
        return [rng.random() < 0.5 for _ in range(length)]
    raise AssertionError(f"no values for {kind} {name}")


@functools.cache
def _scripted() -> dict[str, Any]:
    """Scripted modules that are passed as energies and samplers."""

    class Sampler(torch.nn.Module):
        def forward(self, x: torch.Tensor, beta: torch.Tensor, generator: Optional[torch.Generator]):
            return x

    class WrongSampler(torch.nn.Module):
        def forward(self, x: torch.Tensor):
            return x, x, x

    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor):
            return x

        @torch.jit.export
        def gibbs(self, x: torch.Tensor):
            return 1

        @torch.jit.export
        def gibbs_with_gradients(self, x: torch.Tensor, n_steps: int):
            return x, x, x

        @torch.jit.export
        def value_and_score(self, x: torch.Tensor):
            return x

        @torch.jit.export
        def tempered(self, x: torch.Tensor, beta: torch.Tensor):
            return [x]

        @torch.jit.export
        def flip_differences(self, x: torch.Tensor, sites: Optional[torch.Tensor]):
            return x.sum()

    script = torch.jit.script
    return {
        "energy": [
            script(torch_ebm.RBM(D, H)),
            script(torch_ebm.BoltzmannMachine(D)),
            script(v.QuadraticEnergy()),
        ],
        "sampler": [script(Sampler())],
        "wrong": [script(Wrong()), script(WrongSampler()), script(torch.nn.Linear(D, 1))],
    }


def _callable_argument(rng: random.Random, name: str, bend: bool, call: Call) -> Any:
    scripted = _scripted()
    if bend and rng.random() < 0.3:
        return rng.choice([*scripted["wrong"], v.plain_junk(rng), v.integer(rng)])
    if rng.random() < 0.3:
        return rng.choice(scripted["sampler" if name == "sampler" else "energy"])
    if name == "sampler":
        wrong = v.bad_sampler(rng)
        move = (
            (lambda x, beta, generator: wrong(None, x, beta=beta, generator=generator))
            if bend
            else (lambda x, beta, generator: (x, None))
        )
        registration = Registration(move)
    else:
        registration = Registration(v.bad_energy(rng) if bend else v.good_energy(rng))
    call.keep.append(registration)
    return registration.handle


def operator_call(rng: random.Random, schema: Any) -> Call:
    op = schema.name.removeprefix("torch_ebm::")
    call = Call(f"ops.{op}", getattr(torch.ops.torch_ebm, op), {})
    names = [argument.name for argument in schema.arguments]
    spoiled = set(rng.sample(names, min(len(names), rng.choice(SPOILED))))
    for argument in schema.arguments:
        bend = argument.name in spoiled
        if argument.has_default_value() and not bend:
            if rng.random() < 0.5 or not _has_fitting(op, argument.name):
                continue
        call.arguments[argument.name] = _operator_argument(rng, op, argument, bend, call)
    return call


# --- Python -------------------------------------------------------------------------------------------


def _python_argument(rng: random.Random, name: str, parameter: inspect.Parameter, bend: bool) -> Any:
    argument, annotation = parameter.name, str(parameter.annotation)
    if not bend:
        special = _special(name, argument) or FITTING.get(argument)
        if argument in ("energy", "energy_a", "energy_b") and special is None:
            return v.good_energy(rng)
        if argument == "sampler" and special is None:
            return v.good_sampler
        if argument == "noise" and "NoiseDistribution" in annotation:
            return normal_base()
        if special is not None:
            return special()
        for kind, fitting in FITTING_BY_TYPE.items():
            if kind in annotation:
                return fitting(rng)
        return None
    like = _python_argument(rng, name, parameter, bend=False)
    if rng.random() < 0.5:
        return v.junk(rng)
    if isinstance(like, torch.Tensor):
        return v.bent(rng, like)
    if isinstance(like, bool) or like is None:
        return v.junk(rng)
    if isinstance(like, int):
        return v.integer(rng)
    if isinstance(like, float):
        return rng.choice(v.FLOATS)
    if argument.startswith("energy"):
        return v.bad_energy(rng)
    if argument == "sampler":
        return v.bad_sampler(rng)
    return rng.choice([v.junk(rng), v.any_tensor(rng), rng.choice(v.STRINGS), v.integer(rng)])


def _call_of(rng: random.Random, name: str, function: Callable, label: str) -> Call:
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    spoiled = set(
        rng.sample([p.name for p in parameters], min(len(parameters), rng.choice(SPOILED)))
    )
    arguments, positional = {}, []
    for parameter in parameters:
        bend = parameter.name in spoiled
        given = (
            parameter.default is parameter.empty
            or bend
            or parameter.name in ("base", "betas", "negative_samples", "noise", "positive", "t")
            or (rng.random() < 0.3 and _has_fitting(name, parameter.name))
        )
        if not given and parameter.kind is not parameter.POSITIONAL_ONLY:
            continue
        value = _python_argument(rng, name, parameter, bend)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            arguments[parameter.name] = value
    return Call(label, functools.partial(function, *positional), arguments)


def _not_called(value: object) -> bool:
    return not callable(value) or value in (torch_ebm.Energy, torch_ebm.Sampler)


def public_functions() -> dict[str, Callable]:
    found = {name: getattr(torch_ebm, name) for name in torch_ebm.__all__}
    for name in torch_ebm.testing.__all__ if hasattr(torch_ebm.testing, "__all__") else []:
        found[name] = getattr(torch_ebm.testing, name)
    return {
        name: value
        for name, value in sorted(found.items())
        if not _not_called(value)
        and not _is_record(value)
        and name not in ("save_checkpoint", "load_checkpoint", "checkpoint_values", "log_z_report")
    }


def _is_record(value: object) -> bool:
    """A class of results, errors or a protocol, which users do not make."""
    return inspect.isclass(value) and (
        issubclass(value, (tuple, Exception))
        or getattr(value, "_is_protocol", False)
        or value in (torch_ebm.Summary, torch_ebm.NegativePhase)
    )


def python_call(rng: random.Random, name: str, function: Callable) -> Call:
    if not inspect.isclass(function) or rng.random() < 0.3:
        return _call_of(rng, name, function, name)
    return _method_call(rng, name, function)


def _method_call(rng: random.Random, name: str, kind: type) -> Call:
    """A call of a method of a well-made object."""
    parameters = inspect.signature(kind).parameters.values()
    made = {
        p.name: _python_argument(rng, name, p, bend=False)
        for p in parameters
        if (p.default is p.empty or p.name == "base")
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    own = {
        method
        for base in kind.__mro__
        if base.__module__.startswith("torch_ebm")
        for method, value in vars(base).items()
        if inspect.isfunction(value) and (not method.startswith("_") or method == "__call__")
    }
    made_object = kind(**made)
    method = rng.choice(sorted(own))
    return _call_of(rng, name, getattr(made_object, method), f"{name}.{method}")


@functools.cache
def targets() -> list[Callable[[random.Random], Call]]:
    operators = [functools.partial(operator_call, schema=schema) for schema in schemas()]
    functions = [
        functools.partial(python_call, name=name, function=function)
        for name, function in public_functions().items()
    ]
    return operators + functions


def make_call(seed: int, index: int) -> Call:
    """The call number `index` of the run with this seed."""
    rng = random.Random(f"{seed}:{index}")
    torch.manual_seed(rng.randrange(2**32))
    return rng.choice(targets())(rng)
