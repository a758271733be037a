"""kill -9 at random moments of training and of annealing: what goes on from the last checkpoint ends, bit for bit, where
an undisturbed run ends. test_checkpoint_faults.py kills writes of checkpoints."""

import multiprocessing
import random
import threading
import time

import pytest
import torch

import torch_ebm

N_UPDATES = 40
KILLS = 6
DATA = torch.eye(6)[:, :6].repeat(2, 1)


def train(path):
    """Training that saves a checkpoint after every update, and begins with the last one if there is one."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    rbm = torch_ebm.RBM(6, 4)
    parts = {
        "rbm": rbm,
        "pcd": torch_ebm.PCD(12, (6,), seed=1),
        "optimiser": torch.optim.Adam(rbm.parameters(), 0.01),
        "monitor": torch_ebm.TrainingMonitor(),
    }
    step = torch_ebm.load_checkpoint(path, **parts)["step"] if path.exists() else 0
    for step in range(step + 1, N_UPDATES + 1):
        parts["optimiser"].zero_grad()
        negative = parts["pcd"](rbm, DATA)
        loss = torch_ebm.maximum_likelihood(rbm, DATA, negative_samples=negative)
        loss.backward()
        parts["optimiser"].step()
        with torch.no_grad():
            parts["monitor"].update(rbm(DATA), rbm(negative), DATA, negative, parts["pcd"].start)
        torch_ebm.save_checkpoint(path, step=step, **parts)


def new_run():
    torch.manual_seed(3)
    rbm = torch_ebm.RBM(6, 4)
    generator = torch.Generator().manual_seed(2)
    # 2 batches of 25 stages.
    return torch_ebm.AISRun(rbm, n_chains=20, betas=1000, batch_size=10, generator=generator)


def anneal(path):
    """A run whose state another thread saves after every stage."""
    torch.set_num_threads(1)
    run = new_run()
    if path.exists():
        torch_ebm.load_checkpoint(path, run=run)
    running = threading.Thread(target=run.run, daemon=True)
    running.start()
    saved = None
    while running.is_alive():
        state = run.state_dict()
        place = len(state["done"]), state["stage"], state["prepared"]
        if place != saved:
            torch_ebm.save_checkpoint(path, run=run)
            saved = place
        time.sleep(0.001)
    torch_ebm.save_checkpoint(path, run=run)


def disturbed(work, path):
    """Calls work(path) in processes that are killed soon after they have saved something new, a few times, and lets
    the last end; how many were killed."""
    moments, killed = random.Random(1), 0
    for _ in range(KILLS):
        process = multiprocessing.get_context("fork").Process(target=work, args=(path,))
        before = path.stat().st_mtime_ns if path.exists() else 0
        process.start()
        while process.is_alive() and (path.stat().st_mtime_ns if path.exists() else 0) == before:
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.03))
        if not process.is_alive():
            assert process.exitcode == 0
            return killed
        process.kill()
        process.join()
        killed += 1
    work(path)
    return killed


def ends_in(path):
    """The tensors and numbers of a checkpoint, one after another."""

    def flat(value):
        if isinstance(value, dict):
            return [x for key in sorted(value, key=str) for x in flat(value[key])]
        if isinstance(value, (list, tuple)):
            return [x for item in value for x in flat(item)]
        return [value]

    return flat(torch.load(path, weights_only=True))


@pytest.mark.parametrize("work", [train, anneal])
def test_work_that_is_killed_ends_where_undisturbed_work_ends(work, tmp_path):
    killed = disturbed(work, tmp_path / "killed.pt")
    work(tmp_path / "whole.pt")
    assert killed >= 3
    one, two = ends_in(tmp_path / "killed.pt"), ends_in(tmp_path / "whole.pt")
    assert len(one) == len(two)
    for a, b in zip(one, two):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b or a != a
