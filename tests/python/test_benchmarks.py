"""The benchmarks run, their checks pass, and their tables say what was measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

OTHER_PACKAGES = ("JAX", "scikit-learn", "rbms")

SMALL = {
    "gibbs": {"n_chains": 20, "n_visible": 8, "n_hidden": 5, "n_steps": 2},
    "ais": {"n_chains": 50, "n_visible": 8, "n_hidden": 5, "n_temperatures": 50},
    "free_energy": {"n_examples": 10, "n_visible": 8, "n_hidden": 5},
    "bernoulli": {"n_chains": 20, "n_visible": 64, "n_steps": 2},
    **{
        f"rbm_update_{size}": {"n_visible": 8, "n_hidden": 5, "batch": 4}
        for size in ("64x64_10", "64x64_100", "784x500_100")
    },
}


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import harness
    import rows

    yield harness, rows
    for name, module in list(sys.modules.items()):  # examples have modules of the same names
        if str(BENCHMARKS) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def without_other_packages(row):
    """JAX's start-up alone takes longer than this file may."""
    row.contenders = [c for c in row.contenders if not c.name.startswith(OTHER_PACKAGES)]
    return row


@pytest.mark.parametrize("name", SMALL)
def test_row_is_checked_and_timed(name, benchmarks):
    harness, rows = benchmarks
    row = without_other_packages(rows.ROWS[name](**SMALL[name]))
    measurements = harness.measure(row, rounds=2)
    assert [m.name for m in measurements] == [c.name for c in row.contenders]
    assert all(len(m.times) == 2 and min(m.times) > 0 for m in measurements)
    assert measurements[0].ratios == [1, 1]
    promised = [name for name in row.targets if not name.startswith(OTHER_PACKAGES)]
    assert set(promised) <= {m.name for m in measurements}


def test_sizes_for_every_row(benchmarks):
    assert set(SMALL) == set(benchmarks[1].ROWS)


def test_what_is_not_installed_is_listed(benchmarks):
    harness, rows = benchmarks

    def build():
        raise ImportError("No module named 'rival'")

    row = without_other_packages(rows.ROWS["free_energy"](**SMALL["free_energy"]))
    row.contenders.append(rows.Contender("rival", build))
    text = harness.table(row, harness.measure(row, rounds=1))
    assert "| rival | not installed (No module named 'rival') |" in text


def test_wrong_results_are_not_timed(benchmarks):
    harness, rows = benchmarks
    row = without_other_packages(rows.ROWS["gibbs"](**SMALL["gibbs"] | {"n_chains": 2000}))
    ours = row.contenders[0].build()
    row.contenders.append(rows.Contender("all units off", lambda: lambda: ours() * 0))
    with pytest.raises(AssertionError, match="standard errors"):
        harness.measure(row, rounds=1)


def test_command_line(tmp_path):
    path = tmp_path / "out.json"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import harness, rows;"
        f"sizes = {SMALL!r};"
        "rows.ROWS = {'free_energy': lambda: rows.free_energy(**sizes['free_energy'])};"
        "harness.main(['free_energy', '--rounds', '2', '--json', sys.argv[2]])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(BENCHMARKS), str(path)],
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    assert "| contender |" in run.stdout and "- torch: " in run.stdout
    content = json.loads(path.read_text())
    assert content["environment"]["threads"].startswith("2 ")
    assert [m["name"] for m in content["rows"]["free_energy"]][0].startswith("torch_ebm")
