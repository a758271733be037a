"""Checkpoints from which a killed run resumes bit for bit."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any, Union

import torch

from ..common._wrong_types import names_wrong_types


@names_wrong_types
def save_checkpoint(path: Union[str, Path], **objects: Any) -> None:
    """Saves the ``state_dict`` of every object, or the object itself, and torch's random state.

    The file at ``path`` is replaced in one step: whoever reads it finds an old or a new checkpoint,
    whole, even if several processes save there at once. If saving fails, the old file stays as it
    was. A process that is killed with -9 in the middle may leave ``path.<...>.partial`` behind.

    Raises:
        TypeError: an object that :func:`load_checkpoint` could not read back. Only tensors,
            numbers, strings and containers of them can be. The file is then left as it was.
    """
    path = Path(path)
    content = {
        name: {"state_dict": o.state_dict()} if hasattr(o, "state_dict") else {"value": o}
        for name, o in objects.items()
    }
    buffer = io.BytesIO()
    torch.save({"objects": content, "rng_state": torch.get_rng_state()}, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except Exception as error:
        raise TypeError(
            "save_checkpoint: objects must be made of tensors, numbers and strings to be read back:"
            f" {error}"
        ) from error
    _replace(path, buffer.getbuffer())


def _replace(path: Path, content: memoryview) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name outlives a power failure too
    finally:
        os.close(folder)


def _read(path: Union[str, Path]) -> dict[str, Any]:
    content = Path(path).read_bytes()  # what goes wrong from here on is the content's fault
    try:
        saved = torch.load(io.BytesIO(content), weights_only=True)
        return {"objects": dict(saved["objects"]), "rng_state": saved["rng_state"]}
    except Exception as error:
        raise ValueError(f"{path} is not a checkpoint, or is truncated: {error}") from error


def _values(content: dict[str, Any]) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in content.items() if "value" in entry}


@names_wrong_types
def checkpoint_values(path: Union[str, Path]) -> dict[str, Any]:
    """The saved objects that have no ``state_dict``, by name; changes nothing.

    Raises:
        ValueError: the file is not a checkpoint, or is truncated.
    """
    return _values(_read(path)["objects"])


@names_wrong_types
def load_checkpoint(path: Union[str, Path], **objects: Any) -> dict[str, Any]:
    """Loads what :func:`save_checkpoint` saved into ``objects``, and restores torch's random state.

    Args:
        objects: everything that has a ``load_state_dict``, under the names used for saving.

    Returns:
        The saved objects that have none, by name; as :func:`checkpoint_values`.

    Raises:
        ValueError: the file is not a checkpoint, or the names differ from those saved. Nothing is
            changed then.
        RuntimeError: an object rejects its state, for example one of another shape. Objects named
            before it have been loaded by then.
    """
    saved = _read(path)
    content = saved["objects"]
    with_state = {name for name, entry in content.items() if "state_dict" in entry}
    if with_state != set(objects):
        raise ValueError(
            f"load_checkpoint: {path} holds the states of {sorted(with_state)},"
            f" got {sorted(objects)}"
        )
    for name, o in objects.items():
        o.load_state_dict(content[name]["state_dict"])
    torch.set_rng_state(saved["rng_state"])
    return _values(content)
