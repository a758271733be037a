"""Modules with tensors that belong to one process of a distributed training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def distributed_rank() -> int:
    """The rank of this process; 0 if torch.distributed is not initialised."""
    distributed = torch.distributed
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


class OwnState(torch.nn.Module):
    """A module whose tensors are saved and moved as buffers are, but not synchronised.

    DistributedDataParallel overwrites the buffers of all processes with those of rank 0, which
    would make all of them run the same chains. It has a list of buffers to leave alone, but reads
    it on the outermost module only. So these are no buffers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._own_names: list[str] = []

    def _set_own(self, name: str, tensor: Tensor) -> None:
        """Like ``register_buffer``."""
        setattr(self, name, tensor)
        self._own_names.append(name)

    def own_tensors(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._own_names]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **options: Any) -> OwnState:
        super()._apply(fn, *args, **options)
        for name in self._own_names:
            setattr(self, name, fn(getattr(self, name)))
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._own_names:
            tensor = getattr(self, name)
            destination[prefix + name] = tensor if keep_vars else tensor.detach()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        own = {prefix + name: name for name in self._own_names}
        others = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(
            others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for key, name in own.items():
            tensor = getattr(self, name)
            if key not in state_dict:
                missing_keys.append(key)
            elif state_dict[key].shape != tensor.shape:
                got, expected = tuple(state_dict[key].shape), tuple(tensor.shape)
                error_msgs.append(f"{key} must have the shape {expected}, got {got}")
            else:
                with torch.no_grad():
                    tensor.copy_(state_dict[key])
