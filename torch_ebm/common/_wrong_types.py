"""Arguments of wrong types, named in one sentence instead of in torch's, pybind's or Python's words."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

import torch
from torch import Tensor

#: How this library's messages begin: with the operator, or with the argument.
_OURS = re.compile(r"(?!torch_ebm::)[\w.]+(: | must )")

_INSIDE = (
    str(Path(__file__).parents[1]),  # torch_ebm/
    *(str(Path(module.__file__).parent) for module in (torch, inspect)),
)

_F = TypeVar("_F", bound=Callable[..., Any])

_NAMES = {
    Tensor: "a tensor",
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a string",
    torch.Generator: "a torch.Generator",
    torch.dtype: "a torch.dtype",
    torch.device: "a torch.device",
    collections.abc.Callable: "callable",
    collections.abc.Sequence: "a sequence",
}


def names_wrong_types(function: _F) -> _F:
    """Makes ``function`` name an argument that is not of its annotated type, if the call fails.

    What is not annotated so but works, works: only an error that is not in this library's words is
    replaced, by a TypeError, or, for a meta tensor, by a NotImplementedError.
    """
    explained, is_compiling = _explained, torch.compiler.is_compiling

    def wrapper(*args: Any, **options: Any) -> Any:
        if is_compiling():
            return function(*args, **options)
        try:
            return function(*args, **options)
        except (RuntimeError, AttributeError, LookupError, TypeError, OverflowError) as error:
            better = explained(error, function, args, options)
            if better is None:
                raise
            raise better from None

    # TorchScript, which compiles the function that is wrapped, looks for its names in these globals.
    wrapper = types.FunctionType(
        wrapper.__code__, function.__globals__, closure=wrapper.__closure__
    )
    return typing.cast(_F, functools.wraps(function)(wrapper))


def _explained(
    error: Exception, function: Callable, args: tuple, options: dict[str, Any]
) -> Optional[Exception]:
    """What to raise in place of the error."""
    if isinstance(error, (TypeError, NotImplementedError)) and _OURS.match(str(error)):
        return None
    if not _raised_inside(error):
        return None  # by a user's energy or sampler
    try:
        given = inspect.signature(function).bind(*args, **options).arguments
    except TypeError:
        return None  # Python's own words on a missing or unknown argument
    hints = typing.get_type_hints(function)
    op = function.__qualname__.removesuffix(".__init__")
    for name, value in given.items():
        if name in hints and not _fits(value, hints[name]):
            expected = _expected(hints[name])
            if isinstance(value, Tensor):
                expected = expected.replace("a tensor", "a dense tensor")
            return TypeError(f"{op}: {name} must be {expected}, got {_described(value)}")
    tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    for name, value in tensors.items():
        if value.is_meta:
            return NotImplementedError(f"{op}: {name} must hold values, got a meta tensor")
        if value.is_floating_point() and value.element_size() == 1:
            return TypeError(f"{op}: {name} must have a dtype of at least 16 bits, got {value.dtype}")
        dtype = _parameter_dtype(args)
        if "same dtype" in str(error) and dtype not in (None, value.dtype):
            return TypeError(
                f"{op}: {name} must have the dtype of the parameters, {dtype}, got {value.dtype}"
            )
    return None


def _raised_inside(error: Exception) -> bool:
    """Whether it was raised by this library, torch or Python's own library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_code.co_filename.startswith(_INSIDE)


def _parameter_dtype(args: tuple) -> Optional[torch.dtype]:
    """That of the module whose method was called."""
    if not (args and isinstance(args[0], torch.nn.Module)):
        return None
    return next((parameter.dtype for parameter in args[0].parameters()), None)


def _alternatives(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is Union:
        return [part for of in typing.get_args(hint) for part in _alternatives(of)]
    if typing.get_origin(hint) is typing.Literal:
        return [type(typing.get_args(hint)[0])]
    return [hint]


def _fits(value: object, hint: Any) -> bool:
    return any(_fits_one(value, kind) for kind in _alternatives(hint))


def _fits_one(value: object, kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if origin is type(None):
        return value is None
    if origin is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if origin is int:
        return (
            isinstance(value, numbers.Integral)
            and not isinstance(value, bool)
            and -(2**63) <= int(value) < 2**63
        )
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is torch.device:
        return isinstance(value, torch.device) or (isinstance(value, str) and _is_device(value))
    if origin is Tensor:
        return isinstance(value, Tensor) and _is_dense(value)
    if origin in (collections.abc.Sequence, list, tuple):
        parts = typing.get_args(kind)
        return (
            isinstance(value, collections.abc.Sequence)
            and not isinstance(value, (str, bytes))
            and (not _is_fixed(kind) or len(value) == len(parts))
            and (not parts or all(_fits(item, parts[0]) for item in value))
        )
    if getattr(origin, "_is_protocol", False):
        return all(hasattr(value, method) for method in ("sample", "log_prob"))
    return not inspect.isclass(origin) or isinstance(value, origin)


def _is_fixed(kind: Any) -> bool:
    """Whether it is a tuple of a given length."""
    return typing.get_origin(kind) is tuple and Ellipsis not in typing.get_args(kind)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized)


def _is_device(name: str) -> bool:
    try:
        torch.device(name)
    except RuntimeError:
        return False
    return True


def _expected(hint: Any) -> str:
    kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
    return " or ".join(dict.fromkeys(_name(kind) for kind in kinds))


def _name(kind: Any) -> str:
    origin = typing.get_origin(kind) or kind
    parts = typing.get_args(kind)
    if origin in (collections.abc.Sequence, list, tuple) and parts:
        of = _expected(parts[0]).removeprefix("an ").removeprefix("a ")
        number = f"{len(parts)} " if _is_fixed(kind) else ""
        return f"a sequence of {number}{of}s"
    return _NAMES.get(origin, f"a {getattr(origin, '__name__', origin)}")


def _described(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 2**64 else "a larger number than 64 bits hold"
    if value is None:
        return "None"
    if isinstance(value, Tensor) and not _is_dense(value):
        if value.is_nested:
            return "a nested one; use .to_padded_tensor()"
        return "a quantized one; use .dequantize()" if value.is_quantized else (
            f"one of layout {value.layout}; use .to_dense()"
        )
    if isinstance(value, str):
        return repr(value[:40])
    name = type(value).__name__
    as_tensor = name in ("ndarray", "list", "DataFrame", "Series")
    return f"{name}; see torch.as_tensor" if as_tensor else name
