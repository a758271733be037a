"""Draws of torch's default generators, taken from a generator of one's own instead."""

from __future__ import annotations

import threading
from typing import Any, Optional

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_default_generators = threading.Lock()


class SeededDraws(TorchDispatchMode):
    """Inside the ``with`` block this thread's draws follow from ``seed``, whoever makes them.

    For distributions that take no generator. torch's default generators belong to all threads; they
    are neither used nor changed here, except by operations that can use no other.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Optional[dict[str, Any]] = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        generator = self._generator(_device(args, kwargs))
        names = [argument.name for argument in func._schema.arguments]
        if "generator" in names:
            place = names.index("generator")
            if place < len(args):
                args = (*args[:place], args[place] or generator, *args[place + 1 :])
            elif kwargs.get("generator") is None:
                kwargs["generator"] = generator
            return func(*args, **kwargs)
        if hasattr(func.overloadpacket, "generator"):
            return func.overloadpacket.generator(*args, generator=generator, **kwargs)
        return self._from_default_generators(generator, func, args, kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def _from_default_generators(
        self, generator: torch.Generator, func: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
        with _default_generators, torch.random.fork_rng():
            torch.manual_seed(seed)
            return func(*args, **kwargs)


def _device(args: tuple, kwargs: dict[str, Any]) -> torch.device:
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.device
    return torch.device(kwargs.get("device") or "cpu")
