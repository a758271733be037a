"""Checkpoints that a killed run resumes from bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Union

import torch


def save_checkpoint(path: Union[str, Path], **objects: Any) -> None:
    """Saves the ``state_dict`` of every object, or the object itself, and torch's random state.

    The file at ``path`` is replaced in one step: a run that is killed while saving leaves the old one.
    """
    path = Path(path)
    content = {
        name: {"state_dict": o.state_dict()} if hasattr(o, "state_dict") else {"value": o}
        for name, o in objects.items()
    }
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save({"objects": content, "rng_state": torch.get_rng_state()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_checkpoint(path: Union[str, Path], **objects: Any) -> dict[str, Any]:
    """Loads what :func:`save_checkpoint` saved into ``objects``, and restores torch's random state.

    Args:
        objects: the same names as were saved, for everything that has a ``load_state_dict``.

    Returns:
        The saved objects that have none, by name.

    Raises:
        ValueError: the names differ from those saved. Nothing is changed then.
    """
    saved = torch.load(path, weights_only=True)
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
    return {name: entry["value"] for name, entry in content.items() if "value" in entry}
