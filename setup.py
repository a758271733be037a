"""Builds the CMake project and puts what it installs into the package: lib/, include/, share/cmake/.

CMakeLists.txt is the only description of the build; this file runs it against the torch that is installed.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "cmake"))
from build_backend import SUPPORTED_TORCH, required_torch, torch_folder, torch_version  # noqa: E402

INSTALLED = ("lib", "include", "share")


def run_cmake(prefix: Path, *, editable: bool) -> None:
    torch = torch_folder()
    if torch is None:
        sys.exit(
            f"torch_ebm builds against the torch that you will run it with: install {SUPPORTED_TORCH} first,"
            " or leave --no-build-isolation out"
        )
    build = Path(os.environ.get("TORCH_EBM_BUILD_DIR", ROOT / "build"))
    # Given every time: a build folder remembers those of the environment that made it, which may be gone.
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(build),
        f"-DLibTorch_INCLUDE_DIR={torch / 'include'}",
        "-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_INSTALL_DATADIR=share",
        # A source tree is not next to torch's package.
        f"-DTORCH_EBM_EXTRA_RPATH={torch / 'lib' if editable else ''}",
    ]
    if ninja := shutil.which("ninja"):
        configure += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", str(build), "--parallel"], check=True)
    for name in INSTALLED:
        shutil.rmtree(prefix / name, ignore_errors=True)
    subprocess.run(["cmake", "--install", str(build), "--prefix", str(prefix)], check=True)
    (prefix / "lib" / "built_for_torch.txt").write_text(torch_version(torch) + "\n")


class BuildWithCMake(build_py):
    """Adds what CMake installs: to the source package if it is editable, else only to the built one."""

    def run(self) -> None:
        package = ROOT / "torch_ebm" if self.editable_mode else Path(self.build_lib) / "torch_ebm"
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)  # setuptools keeps modules deleted since
        super().run()
        run_cmake(package, editable=self.editable_mode)


class BinaryDistribution(Distribution):
    """Marks the package as platform-specific, although setuptools compiles nothing."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """One wheel for every Python 3: the library links no Python, only torch."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    install_requires=[required_torch(), "tqdm>=4.60"],
    cmdclass={"build_py": BuildWithCMake, "bdist_wheel": PlatformWheel},
    distclass=BinaryDistribution,
)
