"""The digits example, run as a user runs it, small."""

import gzip
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
import torch
import torch_ebm  # noqa: F401  (model.pt needs its operators)

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "digits"
CPP = Path(os.environ.get("TORCH_EBM_BUILD_DIR", ROOT / "build")) / "examples/cpp/sample_digits"
SMALL = ["--hidden", "6", "--epochs", "40", "--evaluations", "4", "--checkpoint-every", "4",
         "--ais-chains", "100", "--ais-steps", "300", "--chain-steps", "100"]  # fmt: skip
PICTURES = ["ais", "data", "filters", "inpainting", "samples", "training"]


def command(*arguments):
    return [sys.executable, str(EXAMPLE / "train.py"), *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs the example within this process: arguments -> exit status, stdout, stderr."""
    ours = {path.stem for path in EXAMPLE.glob("*.py")}
    monkeypatch.syspath_prepend(str(EXAMPLE))

    def call(*arguments):
        import train

        try:
            status = train.main([str(a) for a in arguments])
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    yield call
    for name in ours:
        sys.modules.pop(name, None)


def parameters(folder):
    """All tensors of a checkpoint: model, optimizer, chains and their randomness."""
    objects = torch.load(folder / "checkpoint.pt", weights_only=True)["objects"]
    model, pcd = objects["model"]["state_dict"], objects["pcd"]["state_dict"]
    momentum = objects["optimizer"]["state_dict"]["state"]
    return {**model, **pcd, **{f"momentum {i}": s["momentum_buffer"] for i, s in momentum.items()}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("digits")
    result = run(*SMALL, "--run-dir", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_writes_what_it_promises(finished):
    folder, _ = finished
    for name in ["checkpoint.pt", "model.pt", "results.json", *(f"{p}.png" for p in PICTURES)]:
        assert (folder / name).stat().st_size > 0, name


def test_table(finished):
    folder, printed = finished
    results = json.loads((folder / "results.json").read_text())
    log_z, log_p = results["log_z"], results["log_probability"]
    for part in ("train", "test"):
        assert -24 < log_p["exact"][part] < -15
        assert log_p["exact"][part] > log_p["independent_pixels"][part] + 2
        assert f"{log_p['exact'][part]:.3f}" in printed
        assert f"{log_p['ais'][part]:.3f}" in printed
        # The same energies on both lines: they differ by log Z alone.
        difference = log_p["exact"][part] - log_p["ais"][part]
        assert difference == pytest.approx(log_z["ais"] - log_z["exact"], abs=1e-6)
    half_width = log_z["ais_upper"] - log_z["ais"]
    assert 0 < half_width < 0.5
    assert abs(log_z["ais"] - log_z["exact"]) < 3 * half_width
    epoch, train, test = results["history"][-1]
    assert epoch == 40
    assert [train, test] == pytest.approx([log_p["exact"][k] for k in ("train", "test")], abs=1e-4)


def test_scripted_model_knows_its_z_and_samples_itself(finished):
    folder, _ = finished
    model = torch.jit.load(folder / "model.pt")
    assert float(model.log_z) == pytest.approx(float(model.energy.log_z().detach()), abs=1e-9)
    first, again = (model.sample(20, 50, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert first.shape == (20, 64) and torch.equal(first, again)
    assert not torch.equal(first, model.sample(20, 50, torch.Generator().manual_seed(2)))
    log_p = model(first)
    assert log_p.dtype == torch.float64 and (log_p < 0).all()
    known = torch.arange(64) < 32
    filled = model.fill_in(first, known, 50)
    assert torch.equal(filled[:, known], first[:, known])
    assert not torch.equal(filled, first)


def test_cpp_program_prints_the_same_log_z(finished):
    if not CPP.exists():
        pytest.skip("build with -DTORCH_EBM_EXAMPLES=sample_digits")
    folder, _ = finished
    result = subprocess.run(
        [CPP, folder / "model.pt", "10"], capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr
    exact = json.loads((folder / "results.json").read_text())["log_z"]["exact"]
    found = re.search(r"log Z = (\S+), recomputed here: (\S+)", result.stdout)
    stored, computed = found.groups()
    assert stored == computed == f"{exact:.4f}"
    assert len([line for line in result.stdout.splitlines() if "##" in line]) >= 6


def test_cpp_program_refuses_what_is_no_model(tmp_path):
    if not CPP.exists():
        pytest.skip("build with -DTORCH_EBM_EXAMPLES=sample_digits")
    assert subprocess.run([CPP], capture_output=True).returncode == 2
    missing = subprocess.run([CPP, tmp_path / "no.pt"], capture_output=True, text=True)
    assert missing.returncode == 1 and "no.pt" in missing.stderr
    bad = subprocess.run([CPP, "x", "none"], capture_output=True, text=True)
    assert bad.returncode == 2 and "number of samples" in bad.stderr


def wait_for_epoch(folder, epoch, process):
    """Waits until a checkpoint of ``epoch`` or later is on disk, while the process runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it was to be stopped"
        path = folder / "checkpoint.pt"
        if path.exists():
            saved = torch.load(path, weights_only=True)["objects"]["epoch"]["value"]
            if saved >= epoch:
                return
        time.sleep(0.01)
    pytest.fail("no checkpoint in 120 s")


@pytest.fixture
def start(tmp_path):
    """Starts a run in the background; it does not outlive the test."""
    processes = []

    def start(*arguments):
        processes.append(
            subprocess.Popen(
                command(*arguments, "--run-dir", tmp_path),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A test run in the background may ignore SIGINT, and its children would.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_killed_and_resumed_is_bit_for_bit_the_same(finished, start, tmp_path):
    process = start(*SMALL)
    wait_for_epoch(tmp_path, 4, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stopped = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["objects"]["epoch"]["value"]
    assert 4 <= stopped < 40

    resumed = run(*SMALL, "--run-dir", tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"epoch {stopped}" in resumed.stdout
    uncut, cut = parameters(finished[0]), parameters(tmp_path)
    assert uncut.keys() == cut.keys()
    for name in uncut:
        assert torch.equal(uncut[name], cut[name]), name
    numbers = [json.loads((f / "results.json").read_text()) for f in (finished[0], tmp_path)]
    for results in numbers:
        del results["training_seconds"]
    assert numbers[0] == numbers[1]


def test_interrupted_names_the_checkpoint_and_exits_130(start, tmp_path):
    process = start("--hidden", 4, "--epochs", 100000, "--checkpoint-every", 2)
    wait_for_epoch(tmp_path, 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    text = stderr.decode()
    assert str(tmp_path / "checkpoint.pt") in text and "--resume" in text
    assert "Traceback" not in text


def test_divergence_is_reported_with_the_way_back(main, tmp_path):
    status, _, stderr = main(*SMALL, "--run-dir", tmp_path, "--learning-rate", "1e38")
    assert status == 1
    assert "Training failed in epoch 1" in stderr and "finite" in stderr
    assert str(tmp_path / "checkpoint.pt") in stderr


def test_compare_prints_a_line_for_every_method(main):
    status, stdout, _ = main(
        "--compare", "--hidden", 4, "--compare-seconds", "0.2", "--compare-seeds", 2
    )
    assert status == 0
    rows = re.findall(r"^  (PCD|CD-1|naive MCMC).*?(-\d+\.\d+) \+- ", stdout, re.MULTILINE)
    assert [name for name, _ in rows] == ["PCD", "CD-1", "naive MCMC"]
    assert all(-40 < float(value) < -15 for _, value in rows)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--data", "no/such/file"], "no/such/file does not exist"),
        (["--hidden", "26"], "--hidden must be between 1 and 25, where log Z is exact, got 26"),
        (["--hidden", "0"], "--hidden"),
        (["--learning-rate", "-1"], "--learning-rate must be positive, got -1.0"),
        (["--learning-rate", "0"], "--learning-rate must be positive"),
        (["--learning-rate", "nan"], "--learning-rate must be positive"),
        (["--batch-size", "100000"], "--batch-size must be at most 1437"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--momentum", "1"], "--momentum"),
        (["--ais-chains", "1"], "--ais-chains must be at least 2"),
        (["--resume"], "there is no checkpoint"),
    ],
)
def test_bad_arguments(main, arguments, text, tmp_path):
    status, _, stderr = main(*arguments, "--run-dir", tmp_path)
    assert status == 2
    assert text in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_resume_with_other_settings_is_refused(main, finished):
    status, _, stderr = main(*SMALL, "--run-dir", finished[0], "--resume", "--momentum", "0.9")
    assert status == 2
    assert "--momentum 0.5, not 0.9" in stderr
    status, _, stderr = main(*SMALL, "--run-dir", finished[0], "--resume", "--chains", "7")
    assert status == 2
    assert "not 7: resume with the same arguments" in stderr


def test_help(main):
    status, stdout, _ = main("--help")
    assert status == 0 and "--compare" in stdout and "mnist5k" in stdout


# --- The data ---------------------------------------------------------------------------------


@pytest.fixture
def data(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import data

    yield data
    sys.modules.pop("data", None)


def idx(sizes, content, kind=8):
    header = struct.pack(">HBB", 0, kind, len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes)
    return header + content


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_images_are_read(data, tmp_path, pack):
    images = numpy.arange(10 * 3 * 4, dtype=numpy.uint8).reshape(10, 3, 4) * 2
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(pack(idx((10, 3, 4), images.tobytes())))
    assert numpy.array_equal(data.read_idx_images(path), images)
    digits = data.load(str(path))
    assert digits.image_shape == (3, 4)
    assert digits.train.shape == (8, 12) and digits.test.shape == (2, 12)
    binary = torch.from_numpy((images >= 128).reshape(10, 12)).float()
    found = torch.cat([digits.train, digits.test])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, binary.tolist()))


@pytest.mark.parametrize(
    "content, text",
    [
        (b"", "two zero bytes"),
        (b"\x89PNG\r\n", "two zero bytes"),
        (idx((3,), b"123"), "labels"),
        (idx((1, 2, 2), b"\0" * 16, kind=0x0D), "type 0x0d"),
        (idx((2, 2, 2), b"1234567"), "8 bytes, but holds 7"),
        (idx((2, 2, 2), b"123456789"), "8 bytes, but holds 9"),
        (idx((0, 2, 2), b""), "empty"),
        (idx((2, 2, 2), b"")[:9], "header"),
        (gzip.compress(idx((2, 2, 2), b"12345678"), mtime=0)[:-12], "cannot be read"),
    ],
)
def test_files_that_are_no_images(data, tmp_path, content, text):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=text):
        data.read_idx_images(path)


def test_a_folder_is_no_file(data, tmp_path):
    with pytest.raises(data.DataError, match="cannot be read"):
        data.read_idx_images(tmp_path)


def test_the_split_is_fixed_and_a_partition(data):
    first, again = data.load("digits"), data.load("digits")
    assert torch.equal(first.train, again.train) and torch.equal(first.test, again.test)
    assert len(first.train) == 1437 and len(first.test) == 360
    assert set(first.train.unique().tolist()) == {0.0, 1.0}
    assert math.isclose(float(torch.cat([first.train, first.test]).mean()), 0.323, abs_tol=5e-4)
