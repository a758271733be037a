"""setuptools' build backend, which also builds against a torch that is installed already.

torch keeps no binary compatibility between minor versions, so the library must be built against the torch that it
will run with. pip builds in an environment of its own, where a torch named in ``[build-system] requires`` would be
downloaded again, perhaps another one. So it is required there only if none is installed where pip runs.
"""

import importlib.util
import re
import sysconfig
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403: the hooks of a build backend

# As CMake checks it.
_LISTS = (Path(__file__).parents[1] / "CMakeLists.txt").read_text()
SUPPORTED_TORCH = "torch>={},<{}".format(*re.search(r"LibTorch (\S+)\.\.\.<(\S+)", _LISTS).groups())


def torch_folder() -> Path | None:
    """The folder of the torch to build against: that of the build environment, else the one outside it."""
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin:
        return Path(spec.origin).parent
    outside = Path(sysconfig.get_path("platlib"), "torch")
    return outside if (outside / "version.py").exists() else None


def torch_version(folder: Path) -> str:
    """For example "2.13.0+cpu". Read, not imported: torch imports packages that the build has not."""
    return re.search(r"__version__ = '(.+)'", (folder / "version.py").read_text())[1]


def required_torch() -> str:
    """What a package built now needs: the minor version that it is built against."""
    folder = torch_folder()
    if folder is None:
        return SUPPORTED_TORCH
    major, minor = torch_version(folder).split(".")[:2]
    return f"torch=={major}.{minor}.*"


def get_requires_for_build_wheel(config_settings=None):
    needed = [] if torch_folder() else [SUPPORTED_TORCH]
    return build_meta.get_requires_for_build_wheel(config_settings) + needed


get_requires_for_build_editable = get_requires_for_build_wheel
