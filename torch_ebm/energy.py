"""The energy interface: how operators call a Python callable or a scripted module."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Optional, Union

import torch
from torch import Tensor

from . import _library  # noqa: F401  (defines the operators implemented here)

#: What every sampler and estimator takes: anything that maps a batch (N, ...) to energies (N,).
#: These methods, where an energy has them, replace the general computation:
#:
#: * ``gibbs(x, n_steps, beta, clamp, generator)``, the new states: in :func:`torch_ebm.gibbs`;
#: * ``gibbs_with_gradients(x, n_steps, beta, generator)``, the new states and acceptance rates
#:   (N,): in :func:`torch_ebm.gibbs_with_gradients`;
#: * ``tempered(x, beta)``, (N,), the energy at inverse temperature beta, () or (N,), in place of
#:   beta * energy(x): every sampler uses it, and the two methods above must leave it invariant;
#: * ``base_energy(x)``, (N,), the energy E_0 at beta = 0, which is 0 otherwise: the target at beta
#:   is then exp(-beta E - (1 - beta) E_0); :func:`torch_ebm.annealed_energy` makes such energies;
#: * ``value_and_score(x)``, the energies (N,) and the scores -dE/dx like x, in place of autograd;
#:   it is called without gradients;
#: * ``flip_differences(x, sites)``, E(x with one unit flipped) - E(x), (N, m), for the units
#:   ``sites``, (N, m), or for all D, (N, D), if ``sites`` is None: in the criteria for binary data,
#:   with gradients.
Energy = Union[Callable[[Tensor], Tensor], torch.nn.Module, torch.jit.ScriptModule]

_callables: dict[int, Callable] = {}
_handles = itertools.count()


class Registration:
    """A callable that the operators know by ``handle`` while this object lives."""

    def __init__(self, function: Callable) -> None:
        self.handle = next(_handles)
        _callables[self.handle] = function
        self.release = weakref.finalize(self, _callables.pop, self.handle)


@contextlib.contextmanager
def registered(function: Callable) -> Iterator[int]:
    """The handle by which the operators know ``function``, valid inside the ``with`` block."""
    registration = Registration(function)
    try:
        yield registration.handle
    finally:
        registration.release()


def callable_of(handle: int, what: str) -> Callable:
    """The callable that is registered by ``handle``."""
    if handle not in _callables:
        raise ValueError(f"{what}: no callable is registered by the handle {handle}")
    return _callables[handle]


@contextlib.contextmanager
def as_argument(energy: Energy) -> Iterator[object]:
    """The value to pass for an operator's ``Any energy``, valid inside the ``with`` block.

    A scripted module is passed as it is; any other callable is passed as a handle.

    Raises:
        TypeError: ``energy`` is not callable.
    """
    argument, registration = held_argument(energy)
    try:
        yield argument
    finally:
        if registration is not None:
            registration.release()


def held_argument(energy: Energy) -> tuple[object, Optional[Registration]]:
    """The same, valid as long as the registration lives, if there is one.

    Raises:
        TypeError: ``energy`` is not callable.
    """
    if isinstance(energy, torch.jit.ScriptModule):
        return energy, None
    if not callable(energy):
        raise TypeError(f"energy must be callable, got {type(energy).__name__}")
    registration = Registration(energy)
    return registration.handle, registration


def _call_energy(x: Tensor, handle: int) -> Tensor:
    return _energies(callable_of(handle, "energy")(x))


def _call_energy_base(x: Tensor, handle: int) -> Tensor:
    return _energies(_callables[handle].base_energy(x))


def _call_energy_tempered(x: Tensor, handle: int, beta: Tensor) -> Tensor:
    return _energies(_callables[handle].tempered(x, beta))


def _call_energy_value_and_score(x: Tensor, handle: int) -> tuple[Tensor, Tensor]:
    result = _callables[handle].value_and_score(x)
    if not (
        isinstance(result, tuple)
        and len(result) == 2
        and all(isinstance(part, Tensor) for part in result)
    ):
        raise TypeError(
            "energy: value_and_score must return energies of shape (N,) and scores like x, got "
            f"{type(result).__name__}"
        )
    return result


def _energies(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"energy must return a tensor of shape (N,), got {type(value).__name__}")
    return value


def has_method(energy: Energy, name: str) -> bool:
    """Whether ``energy`` has a method of that name; a submodule does not count."""
    found = getattr(energy, name, None)
    return callable(found) and not isinstance(found, torch.nn.Module)


def _energy_has(handle: int, method: str) -> bool:
    return has_method(callable_of(handle, "energy"), method)


def _call_energy_gibbs(
    x: Tensor,
    handle: int,
    n_steps: int,
    beta: Optional[Tensor],
    clamp: Optional[Tensor],
    generator: Optional[torch.Generator],
) -> Tensor:
    return _callables[handle].gibbs(x, n_steps, beta, clamp, generator)


def _call_energy_gibbs_with_gradients(
    x: Tensor,
    handle: int,
    n_steps: int,
    beta: Optional[Tensor],
    generator: Optional[torch.Generator],
) -> tuple[Tensor, Tensor]:
    result = _callables[handle].gibbs_with_gradients(x, n_steps, beta, generator)
    if not (isinstance(result, tuple) and [isinstance(r, Tensor) for r in result] == [True, True]):
        raise TypeError("energy: gibbs_with_gradients must return states and acceptance rates (N,)")
    return result


def _call_energy_flip_differences(x: Tensor, handle: int, sites: Optional[Tensor]) -> Tensor:
    differences = _callables[handle].flip_differences(x, sites)
    if not isinstance(differences, Tensor):
        raise TypeError("energy: flip_differences must return a tensor of shape (N, sites)")
    return differences


_implementations = torch.library.Library("torch_ebm", "IMPL")
_implementations.impl("_call_energy", _call_energy, "CompositeImplicitAutograd")
_implementations.impl("_call_energy_base", _call_energy_base, "CompositeImplicitAutograd")
_implementations.impl("_call_energy_tempered", _call_energy_tempered, "CompositeImplicitAutograd")
_implementations.impl(
    "_call_energy_value_and_score", _call_energy_value_and_score, "CompositeImplicitAutograd"
)
_implementations.impl(
    "_call_energy_flip_differences", _call_energy_flip_differences, "CompositeImplicitAutograd"
)
_implementations.impl("_energy_has", _energy_has, "CompositeImplicitAutograd")
_implementations.impl("_call_energy_gibbs", _call_energy_gibbs, "CompositeImplicitAutograd")
_implementations.impl(
    "_call_energy_gibbs_with_gradients",
    _call_energy_gibbs_with_gradients,
    "CompositeImplicitAutograd",
)
