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

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
INSTALLED = ("lib", "include", "share")


def run_cmake(prefix: Path) -> None:
    try:
        import torch
    except ImportError:
        sys.exit(
            "torch_ebm builds against the torch that you will run it with: install torch 2.13 first,"
            " then use `pip install --no-build-isolation .`"
        )
    build = Path(os.environ.get("TORCH_EBM_BUILD_DIR", ROOT / "build"))
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(build),
        f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
        "-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_INSTALL_DATADIR=share",
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
    """Installs the CMake project into the source package, from where package_data picks it up."""

    def run(self) -> None:
        run_cmake(ROOT / "torch_ebm")
        super().run()


class PlatformWheel(bdist_wheel):
    """One wheel for every Python 3: the library links no Python, only torch."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(cmdclass={"build_py": BuildWithCMake, "bdist_wheel": PlatformWheel})
