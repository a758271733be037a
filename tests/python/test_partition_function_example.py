"""The partition function example, run as a user runs it, small."""

import importlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch_ebm

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "partition_function"
SMALL, LARGE = ["CD1(6)", "CD3(6)", "CD25(6)"], ["CD1(30)", "CD3(30)", "CD25(30)"]
CHAINS = [100, 1000]


def command(folder):
    return [sys.executable, EXAMPLE / "partition_function.py", "--quick", "--out", folder]


@pytest.fixture
def modules(monkeypatch):
    """The modules of the example, by name."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module
    for folder in (EXAMPLE, EXAMPLE.parent / "digits"):
        for name in {path.stem for path in folder.glob("*.py")} - before:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("partition_function")
    result = subprocess.run(command(folder), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return folder / "digits", result.stdout


def measured(folder):
    return json.loads((folder / "results.json").read_text())


def test_writes_what_it_promises(finished):
    folder, printed = finished
    assert (folder / "table.md").read_text().strip() in printed
    weights = [f"weights_CD{k}_{hidden}" for k in (1, 3, 25) for hidden in (6, 30)]
    for name in ["convergence", "filters", "samples", *weights]:
        assert (folder / f"{name}.png").stat().st_size > 0, name


def test_small_models_are_held_against_the_exact_log_z(finished):
    rows = measured(finished[0])["rows"][:6]
    assert [(r["model"], r["chains"]) for r in rows] == [(m, n) for m in SMALL for n in CHAINS]
    for row in rows:
        ais = row["ais"]
        half_width = ais["upper"] - ais["log_z"]
        assert 0 < half_width < 0.1
        assert abs(ais["log_z"] - row["log_z"]) < 2 * half_width
        assert 0.9 * row["chains"] < ais["ess"] <= row["chains"]
        for part in ("train", "test"):
            # The same energies: they differ by log Z alone.
            difference = row["exact"][part] - row["by_ais"][part]
            assert difference == pytest.approx(ais["log_z"] - row["log_z"], abs=1e-6)
        assert row["exact"]["train"] > row["exact"]["test"]


def test_every_model_beats_independent_pixels_and_the_large_ones_the_small(finished):
    numbers = measured(finished[0])
    rows = numbers["rows"]
    assert [r["model"] for r in rows[6:]] == LARGE
    assert all(r["exact"] is None and r["log_z"] is None for r in rows[6:])
    for part in ("train", "test"):
        small = [r["by_ais"][part] for r in rows[:6]]
        large = [r["by_ais"][part] for r in rows[6:]]
        assert numbers["independent_pixels"][part] + 3 < min(small)
        assert max(small) + 1 < min(large)
        assert max(large) < -15


def test_more_temperatures_bring_log_z_nearer(finished):
    for name, points in measured(finished[0])["convergence"].items():
        assert name in SMALL
        assert [p["n_temperatures"] for p in points] == 2 * [100, 300, 1000]
        for p in points:
            assert p["lower"] < p["error"] < p["upper"]
        widths = [p["upper"] - p["lower"] for p in points]
        assert widths[2] < widths[0] / 2 and widths[5] < widths[3] / 2


def test_a_repeated_run_only_estimates(finished, modules, capsys):
    folder, printed = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.pt")}
    assert len(before) == 6
    assert modules("partition_function").main(["--quick", "--out", str(folder.parent)]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.pt")} == before
    without_seconds = lambda text: re.sub(r"\d+ s$", "", text, flags=re.MULTILINE)  # noqa: E731
    assert without_seconds(capsys.readouterr().out) == without_seconds(printed)


def test_interrupted_keeps_the_trained_models_and_exits_130(tmp_path):
    process = subprocess.Popen(
        command(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background may ignore SIGINT, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = tmp_path / "digits" / "CD1_6.pt"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert str(tmp_path) in stderr and "Traceback" not in stderr
    assert first.exists()


def test_one_chain_is_refused(modules, capsys):
    with pytest.raises(SystemExit, match="2"):
        modules("partition_function").main(["--chains", "100", "1"])
    assert "--chains: must be at least 2, got 1" in capsys.readouterr().err


def test_temperatures_are_those_published(modules):
    temperatures = modules("estimates").temperatures
    steps = ((500, 1e-3), (4000, 1e-4), (10_000, 1e-5))
    published = torch.cat([torch.full((n,), step).double() for n, step in steps])
    torch.testing.assert_close(temperatures(14_500).diff(), published, rtol=1e-6, atol=0)
    few = temperatures(100)
    assert len(few) == 101 and few[0] == 0 and few[-1] == 1 and (few.diff() > 0).all()


def test_an_estimate_of_few_effective_chains_is_marked(modules):
    estimates, line = modules("estimates"), modules("tables").line
    by_ais = estimates.LogProbability(-80.0, -90.0)
    for spread, mark in ((0.0, " "), (20.0, "*")):
        weights = torch.linspace(-1, 1, 100).double() * spread
        ais = torch_ebm.log_z_from_weights(weights, torch.tensor(5.0).double())
        cells = line(estimates.Row("CD1(500)", ais, by_ais, None, None, 1.0)).split(" | ")
        assert cells[1].strip() == "100" and cells[2].strip() == ""
        assert cells[5] == f"{ais.ess:.1f}{mark}".rjust(7)
        assert [cells[7].strip(), cells[9].strip(" |")] == ["-90.00", "-80.00"]
