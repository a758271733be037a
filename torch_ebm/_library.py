"""Loads the compiled library into this process and checks that it fits the running torch."""

from pathlib import Path

import torch

_PACKAGE = Path(__file__).resolve().parent


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split("+")[0].split(".")[:2])


def _built_for(library: Path) -> str:
    return library.with_name("built_for_torch.txt").read_text().strip()


def _load() -> None:
    library = _PACKAGE / "lib" / "libtorch_ebm.so"
    if not library.exists():
        raise ImportError(
            f"torch_ebm is not built: {library} is missing; run"
            " `pip install -e .` in its source tree"
        )
    # Before loading: a library for another torch fails with a missing symbol, or worse, does not.
    built_for = _built_for(library)
    if _minor(built_for) != _minor(torch.__version__):
        raise ImportError(
            f"torch_ebm was built for torch {built_for} but torch {torch.__version__} is running;"
            " install that torch, or torch_ebm again"
        )
    torch.ops.load_library(str(library))


_load()

__version__: str = torch.ops.torch_ebm.version()

#: What ``CMAKE_PREFIX_PATH`` needs for ``find_package(TorchEBM)`` to find this installation.
cmake_prefix_path: str = str(_PACKAGE)


def cpu_kernels() -> str:
    """The instruction set that the CPU kernels use here: ``"avx512"``, ``"avx2"`` or
    ``"baseline"``.
    """
    return torch.ops.torch_ebm.cpu_kernels()
