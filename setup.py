"""Builds the CMake project and puts what it installs into the package: lib/, include/, share/cmake/.

CMakeLists.txt is the only description of the build; this file runs it against the torch that is
installed here (hence --no-build-isolation).
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
INSTALLED = ("lib", "include", "share")


def run_cmake(prefix: Path, *, editable: bool) -> None:
    try:
        import torch
    except ImportError:
        sys.exit(
            "torch_ebm builds against the torch that you will run it with: install torch 2.13 first,"
            " then use `pip install --no-build-isolation .`"
        )
    build = Path(os.environ.get("TORCH_EBM_BUILD_DIR", ROOT / "build"))
    torch_config = f"{torch.utils.cmake_prefix_path}/Torch"
    cache = build / "CMakeCache.txt"
    if cache.exists() and f"Torch_DIR:PATH={torch_config}\n" not in cache.read_text():
        cache.unlink()  # of another environment: CMake would go on using that one's torch
    # A source tree is no neighbour of torch's package.
    extra_rpath = Path(torch.__file__).parent / "lib" if editable else ""
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(build),
        f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
        "-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_INSTALL_DATADIR=share",
        f"-DTorch_DIR={torch_config}",
        f"-DTORCH_EBM_EXTRA_RPATH={extra_rpath}",
    ]
    if shutil.which("ninja"):
        configure.append("-GNinja")
    if shutil.which("ccache"):
        configure.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", str(build), "--parallel"], check=True)
    for name in INSTALLED:
        shutil.rmtree(prefix / name, ignore_errors=True)
    subprocess.run(["cmake", "--install", str(build), "--prefix", str(prefix)], check=True)
    (prefix / "lib" / "built_for_torch.txt").write_text(torch.__version__ + "\n")


class BuildWithCMake(build_py):
    """Adds what CMake installs: to the source package if it is editable, else only to the built one."""

    def run(self) -> None:
        package = ROOT / "torch_ebm" if self.editable_mode else Path(self.build_lib) / "torch_ebm"
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)  # setuptools keeps modules deleted since
        super().run()
        run_cmake(package, editable=self.editable_mode)


class BinaryDistribution(Distribution):
    """Says that the package is of one platform, though setuptools compiles nothing in it."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """One wheel for every Python 3: the library links no Python, only torch."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_py": BuildWithCMake, "bdist_wheel": PlatformWheel},
    distclass=BinaryDistribution,
)
