"""README.md and docs/*.md do what they say: every code block runs, every link leads somewhere."""

from __future__ import annotations

import importlib
import inspect
import operator
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torch_ebm
from doc_blocks import PAGES, ROOT, Block, blocks, prose, write_cpp_blocks

LANGUAGES = {"python", "cpp", "cmake", "sh", "text"}

#: Commands that another place runs, and which.
RUN_ELSEWHERE = {
    "bash tests/run.sh": "is this run",
    "bash benchmarks/run.sh": "test_benchmarks.py runs harness.py, with small rows",
    "bash examples/digits/run.sh": "test_digits_example.py",
    "bash examples/digits/run.sh --data mnist5k": "test_digits_example.py, on other data",
    "bash examples/digits/run.sh --compare": "test_digits_example.py",
    "bash examples/partition_function/run.sh": "test_partition_function_example.py",
    'pip install "torch>=2.13,<2.15"': "tests/torch_versions.sh, both minor versions",
    "pip install .": "tests/torch_versions.sh; test_consumer.py builds and installs the wheel",
    "cmake -S . -B build -DCMAKE_PREFIX_PATH=/path/to/libtorch": "every build of the library",
    "cmake --build build": "every build of the library",
    "cmake --install build --prefix /path/to/install": "test_consumer.py",
}

#: Programs that have a small form, and run in it. Of others --help runs, or, where there is none,
#: what they import.
SMALL_RUNS = {
    "benchmarks/coverage.py": "--models 2 --betas 10 gaussian",
    "benchmarks/training_monitor.py": "--seeds 1 --epochs 1 dead",
    "docs/pictures.py": "--quick --out .",
    "examples/live_log_likelihood/live_log_likelihood.py": (
        "--updates 20 --every 10 --chains 10 --seeds 1 --run-dir ."
    ),
}


def by_name(block: Block) -> str:
    return block.name


# --- Pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_that_is_checked(page):
    assert {block.language for block in blocks(pages=[page])} <= LANGUAGES
    assert "```" not in prose(page), "a fence that is not a block"
    assert "\n\n    " not in prose(page), "code without a fence"


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    content = page.read_text(encoding="utf-8")
    for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', content):
        path, _, anchor = "".join(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_pictures_are_small():
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures and all(picture.stat().st_size < 100_000 for picture in pictures)


# --- docs/contents.md -----------------------------------------------------------------------------


def contents() -> list[list[str]]:
    """The cells of its tables: what, then the names in Python, in C++ and of the operators."""
    lines = (ROOT / "docs" / "contents.md").read_text(encoding="utf-8").splitlines()
    return [re.split(r" *\| *", line)[1:] for line in lines if "`" in line and line[0] == "|"]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([\w.:]+)`", cell))


def names_beside(python: str, cell: str) -> set[str]:
    """The names in a cell that may say that they are the same as in Python, but for some."""
    same, _, others = cell.partition("except")
    if "others are the same" in cell:  # its methods have other names here
        return names(cell) | {name for name in names(python) if "." not in name}
    return names(python) - names(others) if "the same" in same else names(cell)


def test_contents_name_what_there_is():
    headers = {f.name: f.read_text(encoding="utf-8") for f in (ROOT / "include").rglob("*.h")}
    for _, python, cpp, operators, *_ in contents():
        for name in names(python):
            operator.attrgetter(name)(torch_ebm)
        for name in names_beside(python, cpp) - {"torch::save"}:
            word = re.compile(rf"\b{name.rpartition(':')[2]}\b")
            assert name in headers or any(map(word.search, headers.values())), name
        for name in names_beside(python, operators) - {"TrainingMonitor"}:
            assert hasattr(torch.ops.torch_ebm, name), name


def test_contents_name_every_function():
    public = {n for n in torch_ebm.__all__ if inspect.isroutine(getattr(torch_ebm, n))}
    assert public <= {name for row in contents() for cell in row[1:] for name in names(cell)}


# --- Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page, tmp_path, monkeypatch, capsys):
    """In order, each with the names of those above it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python", [page]):
        # As if the rest of the page were empty: errors, and TorchScript, find the line in the page.
        code = "\n" * (block.line - 1) + block.text
        exec(compile(code, str(page), "exec"), names)


# --- C++ and CMake -------------------------------------------------------------------------------


def test_cpp_blocks_are_all_in_one_program(tmp_path):
    """test_consumer.py builds and runs it."""
    write_cpp_blocks(tmp_path / "blocks.cpp")
    program = (tmp_path / "blocks.cpp").read_text(encoding="utf-8").splitlines()
    found = blocks("cpp")
    assert found
    for block in found:
        assert set(block.text.splitlines()) <= set(program), block.name


@pytest.mark.parametrize("block", blocks("cmake"), ids=by_name)
def test_cmake_blocks_are_lines_of_a_project_that_is_built(block):
    project = (ROOT / "tests" / "consumer" / "CMakeLists.txt").read_text(encoding="utf-8")
    lines = [line.strip() for line in project.splitlines()]
    for line in block.text.splitlines():
        assert line in lines


# --- Shell ---------------------------------------------------------------------------------------

COMMANDS = list(dict.fromkeys(c for b in blocks("sh") for c in b.text.splitlines()))
OURS = [c for c in COMMANDS if c.startswith(("bash ", "python "))]


def programs(command: str) -> list[str]:
    """The Python programs that one of our commands starts, itself or by its run.sh."""
    starter, file, *_ = shlex.split(command)
    if starter == "python" or not (ROOT / file).is_file():  # what is missing fails a test below
        return [file]
    script = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(r"\b(?:examples|benchmarks)/[\w/]+\.py\b", script)


PROGRAMS = sorted({p for c in OURS if c not in RUN_ELSEWHERE for p in programs(c)})


@pytest.fixture
def start(monkeypatch, capsys, tmp_path):
    """Runs a program in this process, where torch is loaded already; returns what it printed."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)

    def call(program: str, arguments: str, name: str = "__main__") -> str:
        path = ROOT / program
        monkeypatch.setattr(sys, "argv", [str(path), *arguments.split()])
        monkeypatch.syspath_prepend(str(path.parent))
        try:
            runpy.run_path(str(path), run_name=name)
        except SystemExit as end:
            assert not end.code
        return capsys.readouterr().out

    yield call
    torch.set_default_dtype(torch.float32)  # one of them changes it
    # Examples have modules of the same names.
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith((f"{ROOT}/examples/", f"{ROOT}/benchmarks/")):
            del sys.modules[name]


def test_commands_are_ours_or_run_elsewhere():
    assert set(COMMANDS) - set(OURS) <= set(RUN_ELSEWHERE) <= set(COMMANDS)


@pytest.mark.parametrize("command", OURS)
def test_scripts_can_be_read(command):
    starter, file, *_ = shlex.split(command)
    assert (ROOT / file).is_file()
    if starter == "bash":
        subprocess.run(["bash", "-n", ROOT / file], check=True)


@pytest.mark.parametrize("command", [c for c in OURS if " --" in c])
def test_options_exist(command, start):
    known = "".join(start(program, "--help") for program in programs(command))
    for option in re.findall(r" (--[\w-]+)", command):
        assert re.search(rf"{option}\b", known), option


@pytest.mark.parametrize("command", [c for c in OURS if "harness.py" in c])
def test_benchmarks_have_these_rows(command, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    files = (ROOT / "benchmarks").glob("*rows.py")
    rows = {row for file in files for row in importlib.import_module(file.stem).ROWS}
    named = [w for w in command.split()[2:] if not w.startswith("--") and not w.isdigit()]
    assert named and set(named) <= rows


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(program, start):
    if program in SMALL_RUNS:
        assert start(program, SMALL_RUNS[program])
    elif "argparse" in (ROOT / program).read_text(encoding="utf-8"):
        assert "usage" in start(program, "--help")
    else:
        start(program, "", name="imported")
