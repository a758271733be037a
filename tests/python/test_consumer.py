"""An application in C++ that uses an installed torch_ebm, and the packages that it may come from.

tests/consumer is built once, against an unpacked wheel; an install tree holds the same files, byte for byte. What its
programs print must be what the same scripted model gives here, bit for bit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

import torch_ebm
from doc_blocks import ROOT, write_cpp_blocks

TORCH = Path(torch.__file__).parent
BUILD = Path(os.environ.get("TORCH_EBM_BUILD_DIR", ROOT / "build"))
SEED = 7  # as in tests/consumer/main.cpp

if not (shutil.which("cmake") and shutil.which("c++") and (ROOT / "CMakeLists.txt").exists()):
    pytest.skip("needs the source tree, CMake and a compiler", allow_module_level=True)


def run(*command: object, **kwargs: object) -> str:
    """Output of a command; fails the test with all it wrote if it fails."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def run_python(code: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a new process that finds torch_ebm in `path`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
    )


# --- Where torch_ebm may come from ------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        target,
        ROOT,
        env={**os.environ, "TORCH_EBM_BUILD_DIR": str(BUILD)},
    )
    (file,) = target.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (target / "torch").symlink_to(TORCH)  # its neighbour, as where packages are installed
    return target


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An install tree. The wheel comes first: it brings the build up to date."""
    target = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", BUILD, "--prefix", target)
    return target


def configure(build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", str(ROOT / "tests" / "consumer"), "-B", str(build), *options]
    if shutil.which("ninja"):
        command.append("-GNinja")
    # As on Ubuntu, whose linker drops libraries that nothing refers to.
    command.append("-DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def prefixes(*folders: Path) -> str:
    return "-DCMAKE_PREFIX_PATH=" + ";".join(map(str, folders))


@pytest.fixture(scope="module")
def programs(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all programs, built against the unpacked wheel."""
    build = tmp_path_factory.mktemp("consumer")
    write_cpp_blocks(build / "doc_blocks.cpp")
    options = [prefixes(unpacked / "torch_ebm"), f"-DDOC_BLOCKS={build / 'doc_blocks.cpp'}"]
    done = configure(build, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    run("cmake", "--build", build, "--parallel", "2")
    return build


# --- Models ------------------------------------------------------------------------------------------


class GibbsModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.energy = torch_ebm.RBM(12, 7)
        torch.nn.init.normal_(self.energy.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.energy(x)

    @torch.jit.export
    def sample(self, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.ops.torch_ebm.gibbs(self.energy, torch.zeros(20, 12), n_steps=5)[0]


class SquareEnergy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1) + x.square().sum(1) / 2


class LangevinModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.energy = SquareEnergy()

    def forward(self, x: Tensor) -> Tensor:
        return self.energy(x)

    @torch.jit.export
    def sample(self, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.ops.torch_ebm.langevin(
            self.energy, torch.zeros(20, 2), n_steps=10, step_size=0.01
        )[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[float]]:
    """Scripted models on disk, and what they sample here."""
    folder = tmp_path_factory.mktemp("models")
    expected = {}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for model in (GibbsModel(), LangevinModel()):
            file = folder / f"{type(model).__name__}.pt"
            scripted = torch.jit.script(model)
            scripted.save(str(file))
            expected[file] = scripted.sample(SEED).double().flatten().tolist()
            assert len(set(expected[file])) > 1
    return expected


# --- Applications in C++ -----------------------------------------------------------------------------


def test_scripted_models_find_their_operators(programs, models):
    consumer = programs / "consumer"
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", consumer))
    assert any(name.startswith("libtorch_ebm.so") for name in needed), needed
    for file, expected in models.items():
        printed = run(consumer, file, cwd=file.parent)
        assert [float.fromhex(line) for line in printed.split()] == expected


def test_code_of_the_docs(programs):
    run(programs / "doc_blocks")


def test_an_install_tree_holds_what_the_wheel_holds(installed, unpacked):
    def files(prefix: Path) -> dict[str, bytes]:
        folders = (prefix / name for name in ("lib", "include", "share"))
        found = {f: f.read_bytes() for folder in folders for f in folder.rglob("*") if f.is_file()}
        return {str(f.relative_to(prefix)): content for f, content in found.items()}

    expected = files(unpacked / "torch_ebm")
    del expected["lib/built_for_torch.txt"]  # for the Python package
    assert files(installed) == expected


def test_subdirectory(tmp_path):
    """Its programs would link the library, and keep it linked. That it then works, the examples show."""
    options = [f"-DTORCH_EBM_SOURCE_DIR={ROOT}", prefixes(TORCH), "-GNinja"]
    done = configure(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = run("ninja", "-C", tmp_path, "-t", "commands", "consumer")
    assert re.search(r"--no-as-needed,\S*libtorch_ebm.so", commands.splitlines()[-1])


def test_training_in_cpp(programs, tmp_path):
    """C++ trains a scripted energy, and exchanges an RBM's state dict with Python in both directions."""
    train = programs / "train"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        energy, rbm = torch.jit.script(SquareEnergy()), torch_ebm.RBM(6, 4)

    energy.save(str(tmp_path / "energy.pt"))
    run(train, "energy", tmp_path / "energy.pt", tmp_path / "trained.pt")
    trained = torch.jit.load(str(tmp_path / "trained.pt"))
    for (name, before), after in zip(energy.named_parameters(), trained.parameters()):
        # The bias of the output is a constant of the energy: it has no gradient.
        assert torch.allclose(before, after, atol=1e-6) == (name == "layers.2.bias"), name

    torch.save(dict(rbm.state_dict()), tmp_path / "rbm.pt")
    torch.jit.script(rbm).save(str(tmp_path / "scripted.pt"))
    run(train, "rbm", tmp_path / "scripted.pt", tmp_path / "rbm.pt", tmp_path / "rbm_trained.pt")
    state = torch.jit.load(str(tmp_path / "rbm_trained.pt")).state_dict()
    before = {name: tensor.clone() for name, tensor in rbm.state_dict().items()}
    rbm.load_state_dict(state)

    # The same update here: the same chains, hence the same gradients.
    expected = torch_ebm.RBM(6, 4)
    expected.load_state_dict(before)
    pcd = torch_ebm.PCD(
        16,
        (6,),
        lambda e, x, generator: torch_ebm.gibbs(e, x, n_steps=5, generator=generator).x,
        seed=1,
    )
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1)
    negative = pcd(expected)
    (expected(torch.ones(8, 6)).mean() + torch_ebm.log_partition(expected, negative)).backward()
    optimizer.step()
    for name, tensor in expected.state_dict().items():
        assert not torch.equal(tensor, before[name])
        torch.testing.assert_close(rbm.state_dict()[name], tensor)


def test_another_torch_is_refused_by_cmake(installed, tmp_path):
    copy = tmp_path / "installed"
    shutil.copytree(installed, copy)
    config = copy / "share" / "cmake" / "TorchEBM" / "TorchEBMConfig.cmake"
    text = config.read_text()
    found = torch.__version__.split("+")[0]
    assert found in text
    config.write_text(text.replace(found, "2.7.1"))
    done = configure(tmp_path / "build", prefixes(copy, TORCH))
    assert done.returncode != 0
    message = " ".join(done.stderr.split())
    assert f"this torch_ebm was built for torch 2.7.1, but torch {found} was found" in message


# --- What is installed ---------------------------------------------------------------------------------


def test_installed_files_name_no_path_of_this_machine(installed, unpacked):
    for share in (installed / "share", unpacked / "torch_ebm" / "share"):
        for file in share.rglob("*.cmake"):
            text = file.read_text()
            for path in (ROOT, BUILD, sys.prefix, TORCH):
                assert str(path) not in text, file


def test_library_needs_torch_alone(unpacked):
    dynamic = run("readelf", "-d", unpacked / "torch_ebm" / "lib" / "libtorch_ebm.so")
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert not [name for name in needed if re.search("python|fmt", name)], needed
    assert len([name for name in needed if re.search("omp", name)]) <= 1, needed
    assert "[$ORIGIN:$ORIGIN/../../torch/lib]" in dynamic  # no path of this machine in a wheel


def test_process_has_one_openmp_runtime():
    maps = Path("/proc/self/maps").read_text()
    # scikit-learn brings its own, under a name of its own.
    runtimes = {os.path.realpath(p) for p in re.findall(r"/\S*lib(?:g|i|)omp\S*\.so\S*", maps)}
    assert len({p for p in runtimes if "scikit_learn" not in p}) == 1, runtimes


def test_editable_library_finds_torch():
    library = Path(torch_ebm.__file__).parent / "lib" / "libtorch_ebm.so"
    assert "not found" not in run("ldd", library)


def test_wheel_is_of_every_python_and_complete(wheel):
    assert re.fullmatch(r"torch_ebm-\d+\.\d+\.\d+-py3-none-linux_\w+\.whl", wheel.name)
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "__init__.py",
        "py.typed",
        "lib/libtorch_ebm.so",
        "lib/built_for_torch.txt",
        "include/torch_ebm/torch_ebm.h",
        "share/cmake/TorchEBM/TorchEBMConfig.cmake",
    ):
        assert f"torch_ebm/{name}" in names
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "torch_ebm").rglob("*.py")}
    assert {n for n in names if n.endswith(".py")} == sources
    assert not [n for n in names if not re.match(r"torch_ebm(-[\d.]+\.dist-info)?/", n)]


def test_installed_wheel_imports(wheel, tmp_path):
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        tmp_path / "site",
        wheel,
    )
    done = run_python(
        "import torch, torch_ebm; print(torch_ebm.__file__); print(torch_ebm.cmake_prefix_path);"
        "torch_ebm.gibbs(torch_ebm.RBM(3, 2), torch.zeros(1, 3)).x",
        tmp_path / "site",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    package = tmp_path / "site" / "torch_ebm"
    assert done.stdout.split() == [str(package / "__init__.py"), str(package)]


def test_another_torch_is_refused_by_the_import(unpacked, tmp_path):
    shutil.copytree(unpacked / "torch_ebm", tmp_path / "site" / "torch_ebm")
    (tmp_path / "site" / "torch_ebm" / "lib" / "built_for_torch.txt").write_text("2.7.1+cpu\n")
    done = run_python("import torch_ebm", tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: torch_ebm was built for torch 2.7.1+cpu but torch {torch.__version__} is "
        "running; install that torch, or torch_ebm again"
    )


def test_an_unbuilt_tree_says_so(tmp_path):
    shutil.copytree(
        ROOT / "torch_ebm",
        tmp_path / "torch_ebm",
        ignore=shutil.ignore_patterns("lib", "include", "share", "__pycache__"),
    )
    done = run_python("import torch_ebm", tmp_path, tmp_path)
    assert re.match(
        r"ImportError: torch_ebm is not built: .* is missing; run `pip install",
        done.stderr.splitlines()[-1],
    )
