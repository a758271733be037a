"""Checkpoints where something goes wrong: cut-off files, failed saves, several writers, kills."""

import multiprocessing
import os
import signal
import time

import pytest
import torch

import torch_ebm


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.pt"
    torch_ebm.save_checkpoint(path, step=1, x=torch.arange(300.0))
    return path


def test_every_truncation_is_a_value_error(saved):
    whole = saved.read_bytes()
    lengths = {0, 1, 3, 4, 5, len(whole) - 1, *range(0, len(whole), len(whole) // 150)}
    for length in sorted(lengths - {len(whole)}):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a checkpoint, or is truncated"):
            torch_ebm.checkpoint_values(saved)


def test_what_the_system_refuses_keeps_its_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        torch_ebm.checkpoint_values(tmp_path)
    with pytest.raises(FileNotFoundError):
        torch_ebm.save_checkpoint(tmp_path / "none" / "c.pt", step=1)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, step, monkeypatch):
    before = saved.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        torch_ebm.save_checkpoint(saved, step=2)
    monkeypatch.undo()
    assert saved.read_bytes() == before and os.listdir(saved.parent) == ["c.pt"]


def keep_writing(number, path):
    x = torch.full((20_000,), float(number))
    while True:
        torch_ebm.save_checkpoint(path, number=number, x=x)


def test_several_writers_and_kill_9_leave_whole_checkpoints(saved):
    torch_ebm.save_checkpoint(saved, number=0, x=torch.zeros(20_000))
    forked = multiprocessing.get_context("fork")
    writers = [forked.Process(target=keep_writing, args=(n, saved)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    seen, begin = set(), time.monotonic()
    try:
        while len(seen) < 3 and time.monotonic() < begin + 30:  # the machine may be busy
            values = torch_ebm.checkpoint_values(saved)
            assert (values["x"] == values["number"]).all()
            seen.add(values["number"])
        for writer in writers:  # in the middle of whatever each does
            os.kill(writer.pid, signal.SIGKILL)
            for _ in range(20):
                values = torch_ebm.checkpoint_values(saved)
                assert (values["x"] == values["number"]).all()
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert seen & {1, 2, 3}
