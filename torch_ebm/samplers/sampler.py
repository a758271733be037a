"""What all samplers have in common.

A sampler is called as ``sampler(energy, x, *, ...)`` and returns :class:`Samples`. All take

* ``energy``: any callable or module that maps a batch (N, ...) to energies (N,);
* ``x``: the states that N independent chains start from, (N, ...), floating;
* ``n_steps``: transitions of every chain;
* ``beta``: inverse temperature, one number or one for every chain, (N,); default 1. The target is
  exp(-beta E(x)), or exp(-tempered(x, beta)) if the energy has a method ``tempered``;
* ``thin``: keep the states after every ``thin``-th step; 0 keeps none;
* ``inplace``: write the last states into ``x``. If a step raises, ``x`` then holds the states of
  the last completed step; otherwise ``x`` is never changed;
* ``generator``: source of the one key per call; default: torch's default generator.

An energy in training mode whose value changes from call to call (batch normalisation, dropout,
spectral normalisation) is not the same distribution at every step: the first sampler that meets it
warns. Call ``energy.eval()`` before sampling, and ``energy.train()`` after it.

All raise ValueError for no chains, ``n_steps`` < 1, ``thin`` < 0 and a ``beta`` that is negative,
not finite or of another shape. Exceptions of ``energy`` keep their type.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple, Optional, TypeVar, Union

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._arguments import as_beta, as_step_size
from ..energy.energy import Energy, as_argument, callable_of, registered


class Samples(NamedTuple):
    """What a sampler returns for N chains.

    Attributes:
        x: the last states, (N, ...), detached.
        acceptance_rate: the mean over the steps of the Metropolis acceptance probability, (N,),
            float64; 1 where every step is accepted.
        trajectory: the states after every ``thin``-th step, (n_steps // thin, N, ...); (0, N, ...)
            if ``thin`` is 0.
        energy: the energies of ``x`` at ``beta``, (N,), float64, from samplers that compute them;
            otherwise None.
    """

    x: Tensor
    acceptance_rate: Tensor
    trajectory: Tensor
    energy: Optional[Tensor] = None


#: A transition of all chains, ``sampler(energy, x, generator=...)``, and for tempering
#: ``beta=...``, that returns Samples or the new states: for example
#: ``functools.partial(torch_ebm.mala, step_size=0.1)``.
Sampler = Callable[..., Union[Samples, Tensor]]

#: A number, a sequence with one for every step, or a tensor with one for every chain.
StepSize = Union[float, "list[float]", Tensor]


_own: list[object] = []
_S = TypeVar("_S")


def own_sampler(sampler: _S) -> _S:
    """Marks a function as the operator of its name.

    Its Samples hold the right energies of the target, or none, and its keywords are the options of
    the operator. A class so marked has a method ``operator()`` that gives the operator's name and
    its options.
    """
    _own.append(sampler)
    return sampler


def _as_operator(sampler: Sampler) -> Optional[tuple[str, dict[str, object]]]:
    """The operator's name and its options, if the sampler is one of this library."""
    options: dict[str, object] = {}
    while type(sampler) is functools.partial:
        if sampler.args:
            return None
        options = {**sampler.keywords, **options}
        sampler = sampler.func
    if any(sampler is own for own in _own):
        # Given in every call, which replaces them.
        options = {k: v for k, v in options.items() if k not in ("beta", "generator")}
        step_size = inspect.signature(sampler).parameters.get("step_size")
        if step_size is not None:  # has no default in the operator
            options.setdefault("step_size", step_size.default)
        return sampler.__name__, options
    if not options and type(sampler) in _own:
        return sampler.operator()
    return None


def _fits(value: object, kind: torch._C.JitType) -> bool:
    """Whether an operator takes it as an argument of that type."""
    if kind.kind() == "OptionalType":
        return value is None or _fits(value, kind.getElementType())
    numbers = (int, float) if kind.kind() == "FloatType" else int
    if kind.kind() in ("FloatType", "IntType"):
        small = not isinstance(value, int) or -(2**63) <= value < 2**63
        return isinstance(value, numbers) and not isinstance(value, bool) and small
    types = {"BoolType": bool, "StringType": str, "TensorType": Tensor}
    return isinstance(value, types.get(kind.kind(), object))


def _operator_argument(sampler: Sampler) -> Optional[tuple[str, tuple, tuple]]:
    """What the operators call without Python; nothing for other samplers, and for options that do
    not fit, which the Python function names.
    """
    operator = _as_operator(sampler)
    if operator is None:
        return None
    name, options = operator
    schema = getattr(torch.ops.torch_ebm, name).default._schema
    kinds = {argument.name: argument.type for argument in schema.arguments[2:]}
    if name != "tuned_step" and "step_size" in options:
        options = {**options, "step_size": as_step_size(options["step_size"])}
    if not all(key in kinds and _fits(value, kinds[key]) for key, value in options.items()):
        return None
    return name, tuple(options), tuple(options.values())


def run_sampler(op: str, energy: Energy, x: Tensor, *, beta: object, **options: object) -> Samples:
    """Calls the sampler's operator ``op``."""
    if "step_size" in options:
        options["step_size"] = as_step_size(options["step_size"])
    _warn_of_training_mode(op, energy)
    with as_argument(energy) as argument:
        function = getattr(torch.ops.torch_ebm, op)
        return Samples(*function(argument, x, beta=as_beta(beta), **options))


# What makes an energy in training mode another function at every call.
_CHANGING = {
    **dict.fromkeys(
        ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"],
        "its statistics change with every call and every chain depends on the others",
    ),
    **dict.fromkeys(
        ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"],
        "the energy is random",
    ),
    **dict.fromkeys(["_SpectralNorm", "SpectralNorm"], "its vectors move with every call"),
}
_warned: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()


def _warn_of_training_mode(op: str, energy: Energy) -> None:
    """Warns, once for each energy, that its value changes from call to call."""
    if not isinstance(energy, torch.nn.Module) or energy in _warned:
        return
    for module in energy.modules():
        if not module.training:
            continue
        hooks = [type(hook).__name__ for hook in module._forward_pre_hooks.values()]
        for name in [getattr(module, "original_name", type(module).__name__), *hooks]:
            if name in _CHANGING and getattr(module, "p", 1) != 0:
                _warned.add(energy)
                warnings.warn(
                    f"{op}: energy is in training mode and has a {name.lstrip('_')}:"
                    f" {_CHANGING[name]}; call energy.eval() before sampling, and energy.train()"
                    " after it",
                    stacklevel=4,
                )
                return


@contextlib.contextmanager
def sampler_argument(sampler: Sampler, energy: Energy) -> Iterator[object]:
    """The value to pass for an operator's ``Any sampler``, valid inside the ``with`` block.

    A scripted module is passed as it is: its ``forward(x, beta, generator)`` must contain the
    energy itself. A sampler of this library, with or without ``functools.partial``, is passed as
    its operator and options, and not called back. Any other callable is given ``energy``.

    Raises:
        TypeError: ``sampler`` is not callable.
    """
    if isinstance(sampler, torch.jit.ScriptModule):
        yield sampler
        return
    if not callable(sampler):
        raise TypeError(f"sampler must be callable, got {type(sampler).__name__}")

    operator = _operator_argument(sampler)
    if operator is not None:
        _warn_of_training_mode(operator[0], energy)
        yield operator
        return

    def move(
        x: Tensor, beta: Optional[Tensor], generator: Optional[torch.Generator]
    ) -> tuple[Tensor, Optional[Tensor]]:
        options = {} if beta is None else {"beta": beta}
        # It may use a surrogate of the energy, or change the states afterwards.
        return states_of(sampler(energy, x, generator=generator, **options)), None

    with registered(move) as handle:
        yield handle


def states_of(result: object) -> Tensor:
    """The states that a sampler returned."""
    states = result.x if isinstance(result, Samples) else result
    if not isinstance(states, Tensor):
        raise TypeError(f"sampler must return Samples or a tensor, got {type(states).__name__}")
    return states


def _call_sampler(
    x: Tensor, handle: int, beta: Optional[Tensor], generator: Optional[torch.Generator]
) -> tuple[Tensor, Optional[Tensor]]:
    result = callable_of(handle, "sampler")(x, beta, generator)
    # torch writes beyond the end of what it expects from a tuple that is too long.
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)):
        raise TypeError(
            "sampler must return the new states and their energies, or None, got "
            f"{type(result).__name__}"
        )
    if not (result[1] is None or isinstance(result[1], Tensor)):
        raise TypeError(f"sampler must return energies (N,), got {type(result[1]).__name__}")
    return result


_implementations = torch.library.Library("torch_ebm", "IMPL")
_implementations.impl("_call_sampler", _call_sampler, "CompositeImplicitAutograd")
