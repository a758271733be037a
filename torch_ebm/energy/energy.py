"""The energy interface: how operators call a Python callable or a scripted module."""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Optional, Union

import torch
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

from .. import _library  # noqa: F401  (defines the operators implemented here)
from ..common._arguments import as_beta

#: What every sampler and estimator takes: anything that maps a batch (N, ...) to energies (N,).
#: These methods, where an energy has them, replace the general computation:
#:
#: * ``gibbs(x, n_steps, beta, clamp, generator)``, the new states: in :func:`torch_ebm.gibbs`;
#: * ``random_scan_gibbs(x, n_steps, beta, clamp, generator)``, the same for updates of single sites
#:   drawn at random, there too;
#: * ``categorical_gibbs(x, n_steps, beta, clamp, generator)``, the same as ``gibbs`` for sites of K
#:   states, one-hot in the last dimension of x: there, with ``categorical=True``;
#: * ``gibbs_with_gradients(x, n_steps, beta, generator)``, the new states and acceptance rates
#:   (N,): in :func:`torch_ebm.gibbs_with_gradients`;
#: * ``tempered(x, beta)``, (N,), the energy at inverse temperature beta, () or (N,), in place of
#:   beta * energy(x): every sampler uses it, and the methods above must leave it invariant;
#: * ``base_energy(x)``, (N,), the energy E_0 at beta = 0, which is 0 otherwise: the target at beta
#:   is then exp(-beta E - (1 - beta) E_0); :func:`torch_ebm.annealed_energy` makes such energies;
#: * ``value_and_score(x)``, the energies (N,) and the scores -dE/dx like x, in place of autograd;
#:   it is called without gradients;
#: * ``flip_differences(x, sites)``, E(x with one unit flipped) - E(x), (N, m), for the units
#:   ``sites``, (N, m), or for all D, (N, D), if ``sites`` is None: in the criteria for binary data,
#:   with gradients.
#:
#: ``gibbs`` and ``gibbs_with_gradients`` may return None where they have no answer, as at some
#: temperatures: then the general sampler is used.
#:
#: A method counts only where a call runs the ``forward`` (or ``__call__``) of the class that
#: defines it. A subclass that overrides ``forward`` loses the inherited methods, except
#: ``base_energy``, until it overrides them too. So does an instance whose ``forward`` is patched or
#: that has forward hooks.
Energy = Union[Callable[[Tensor], Tensor], torch.nn.Module, torch.jit.ScriptModule]

_callables: dict[int, Callable] = {}
_handles = itertools.count()


class Registration:
    """A callable that the operators know by ``handle`` while this object lives."""

    def __init__(self, function: Callable) -> None:
        self.handle = next(_handles)
        _callables[self.handle] = function
        self.release = weakref.finalize(self, _callables.pop, self.handle)


class HeldEnergy:
    """An energy of this library that the operators know by ``handle`` while this object lives.

    ``parts`` are registrations of what it was made from.
    """

    def __init__(self, handle: int, *parts: Union[Registration, HeldEnergy, None]) -> None:
        self.handle = handle
        self._parts = parts
        self._release = weakref.finalize(self, torch.ops.torch_ebm._release_energy, handle)
        self._release.atexit = False

    def release(self) -> None:
        self._release()
        for part in self._parts:
            if part is not None:
                part.release()


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

    A scripted module is passed as it is, a model of this library as the handle of what it is made
    from, any other callable as a handle by which it is called back.

    Raises:
        TypeError: ``energy`` is not callable.
    """
    argument, registration = held_argument(energy)
    try:
        yield argument
    finally:
        if registration is not None:
            registration.release()


def held_argument(energy: Energy) -> tuple[object, Union[Registration, HeldEnergy, None]]:
    """The same, valid as long as the registration lives, if there is one.

    Raises:
        TypeError: ``energy`` is not callable.
    """
    if isinstance(energy, torch.jit.ScriptModule):
        return energy, None
    held = energy._held() if hasattr(type(energy), "_held") else None
    if held is not None:
        return held.handle, held
    if not callable(energy):
        raise TypeError(f"energy must be callable, got {type(energy).__name__}")
    registration = Registration(energy)
    return registration.handle, registration


def energy_at(energy: Energy, x: Tensor, beta: Union[float, Tensor, None] = None) -> Tensor:
    """Energies (N,) of x (N, ...) at ``beta``, float64: those of the distribution that samplers
    leave invariant there.
    """
    with as_argument(energy) as argument:
        return torch.ops.torch_ebm._energy_at(argument, x, as_beta(beta))


def _call_energy(x: Tensor, handle: int) -> Tensor:
    return _energies(callable_of(handle, "energy")(x))


def _energies(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"energy must return a tensor of shape (N,), got {type(value).__name__}")
    return value


def energies_of(energy: Energy, x: Tensor) -> Tensor:
    """energy(x), (N,), with its graph, checked as the operators check it.

    Raises:
        TypeError: no floating tensor.
        ValueError: another shape.
    """
    energies, shape = _energies(energy(x)), tuple(x.shape[:1])
    if not energies.is_floating_point():
        raise TypeError(f"energy: its value must have a floating dtype, got {energies.dtype}")
    if energies.shape != shape:
        raise ValueError(
            f"energy: its value must have shape (N,) = {shape}, got {tuple(energies.shape)}"
        )
    return energies


def has_method(energy: Energy, name: str) -> bool:
    """Whether ``energy`` has a method of that name that belongs to the forward that a call runs.

    A submodule of that name does not count, nor does what a wrapper passes on by ``__getattr__``.
    """
    energy = _uncompiled(energy)
    if isinstance(energy, torch.jit.ScriptModule):
        return callable(getattr(energy, name, None))
    if name in getattr(energy, "__dict__", ()):  # given to this very object
        found = energy.__dict__[name]
        return callable(found) and not isinstance(found, torch.nn.Module)
    owner = next((c for c in type(energy).__mro__ if name in vars(c)), None)
    if owner is None or not callable(getattr(energy, name, None)):
        return False
    # A base is a part of the path's definition, not a closed form of the energy.
    return name == "base_energy" or runs_forward_of(energy, owner)


def runs_forward_of(energy: Energy, owner: type) -> bool:
    """Whether a call of ``energy`` runs the forward that the class ``owner`` has, without hooks.

    If not, the methods of ``owner`` are those of another energy. A class without a forward, a
    mixin, serves any.
    """
    if _has_hooks(energy) or (isinstance(energy, ClosedForms) and not energy._is_as_built()):
        return False
    if type(energy) is owner and "forward" not in getattr(energy, "__dict__", ()):
        return True  # the usual case, in a loop of training
    for name in ("forward", "__call__"):
        theirs = _defined(owner, name)
        if theirs is None or theirs is torch.nn.Module.forward:
            continue
        patched = name == "forward" and getattr(energy, "__dict__", {}).get(name)
        if patched:  # torch.compile(energy.forward) is still that forward
            patched = getattr(patched, "_torchdynamo_orig_callable", patched)
        ours = getattr(patched, "__func__", patched) or _defined(type(energy), name)
        if ours is not theirs:
            return False
    return True


def _has_hooks(energy: Energy) -> bool:
    own = any(getattr(energy, name, None) for name in ("_forward_hooks", "_forward_pre_hooks"))
    return own or (isinstance(energy, torch.nn.Module) and _has_any_global_hook())


def _has_backward_hooks(module: torch.nn.Module) -> bool:
    return bool(module._backward_hooks or module._backward_pre_hooks)


def is_changed(module: torch.nn.Module, of: type[torch.nn.Module]) -> bool:
    """Whether a call of it runs more, or something else, than the forward of the class ``of``."""
    for name in ("forward", "__call__"):
        if _defined(type(module), name) is not _defined(of, name):
            return True
    return _has_hooks(module) or "forward" in vars(module)


def _defined(cls: type, name: str) -> Optional[object]:
    return next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)


def _uncompiled(energy: Energy) -> Energy:
    """The module inside ``torch.compile(module)``, which passes its methods on."""
    while type(energy).__name__ == "OptimizedModule" and not _has_hooks(energy):
        energy = energy._orig_mod
    return energy


@functools.lru_cache(maxsize=None)
def _owner(cls: type[ClosedForms]) -> Optional[type[ClosedForms]]:
    """The class of this library whose energy and closed forms a class inherits unchanged."""
    owner = next((c for c in cls.__mro__ if "_PARAMETERS" in vars(c)), None)
    names = ("__call__", *ClosedForms._MAY_BE_PATCHED, *getattr(owner, "_PARAMETERS", ()))
    same = all(getattr(cls, name, None) is getattr(owner, name, None) for name in names)
    return owner if same else None


class ClosedForms(torch.nn.Module):
    """A module whose methods are closed forms of its ``forward``.

    They refuse, and are not scripted, where a call runs another forward: in a subclass that
    overrides ``forward`` and not the method, an instance with a patched forward or with hooks.
    """

    _CLOSED_FORMS = (
        "gibbs",
        "random_scan_gibbs",
        "categorical_gibbs",
        "gibbs_with_gradients",
        "flip_differences",
        "tempered",
        "value_and_score",
        "log_z",
        "sample",
    )

    def __dir__(self) -> list[str]:  # what torch.jit.script looks for exported methods in
        lost = {n for n in self._CLOSED_FORMS if hasattr(type(self), n) and not has_method(self, n)}
        return [name for name in super().__dir__() if name not in lost]

    #: Where a class of this library defines it: the parameters from which the operators make its
    #: energy, without a call of Python.
    _PARAMETERS: tuple[str, ...]
    _MAY_BE_PATCHED = frozenset(("forward", "base_energy", *_CLOSED_FORMS))
    _forward_as_defined: object = None

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls._forward_as_defined = cls.forward

    def _held(self) -> Optional[HeldEnergy]:
        """The model over these parameters, if nothing about this object changes its energy."""
        owner = _owner(type(self))
        if owner is None or type(self).forward is not owner._forward_as_defined:
            return None
        if _has_hooks(self) or _has_backward_hooks(self):
            return None
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return None  # it casts what Python's forward calls
        if not self._MAY_BE_PATCHED.isdisjoint(self.__dict__):
            return None
        tensors = [self._parameters.get(name) for name in owner._PARAMETERS]
        # torch.func.functional_call and the like put other tensors in their place.
        if any(type(tensor) is not torch.nn.Parameter for tensor in tensors):
            return None
        handle = self._hold(tensors)
        return HeldEnergy(handle) if handle is not None else None

    def _hold(self, tensors: list[Tensor]) -> Optional[int]:
        """The handle of the model that the tensors of ``_PARAMETERS`` make."""
        raise NotImplementedError

    def _is_as_built(self) -> bool:
        """Whether the parts that ``forward`` calls are still those of the closed forms."""
        return True

    def _check_closed_form(self, name: str) -> None:
        if not has_method(self, name):
            owner = next(c for c in type(self).__mro__ if name in vars(c))
            raise NotImplementedError(
                f"{type(self).__name__}.{name}: it is a closed form of {owner.__name__}.forward,"
                " and this energy has another forward, or hooks; define it for this energy, or use"
                " a function that needs the energy alone"
            )


def _energy_has(handle: int, method: str) -> bool:
    return has_method(callable_of(handle, "energy"), method)


def _call_energy_method(
    x: Tensor, handle: int, method: str, expected: str, arguments: tuple
) -> object:
    result = getattr(callable_of(handle, "energy"), method)(x, *arguments)
    parts = result if isinstance(result, tuple) else (result,)
    if not all(part is None or isinstance(part, Tensor) for part in parts):
        got = " and ".join(type(part).__name__ for part in parts)
        raise TypeError(f"energy: {method} must return {expected}, got {got}")
    return result


_implementations = torch.library.Library("torch_ebm", "IMPL")
_implementations.impl("_call_energy", _call_energy, "CompositeImplicitAutograd")
_implementations.impl("_energy_has", _energy_has, "CompositeImplicitAutograd")
_implementations.impl("_call_energy_method", _call_energy_method, "CompositeImplicitAutograd")
