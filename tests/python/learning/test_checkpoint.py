"""Checkpoints: a killed run resumes bit for bit."""

import os

import pytest
import torch

import torch_ebm
from known_values import case


class Run:
    """A training run with everything that has state."""

    def __init__(self, seed=1):
        torch.manual_seed(seed)
        self.rbm = torch_ebm.RBM(64, 8)
        self.phase = torch_ebm.PCD(50, (64,))
        self.optimizer = torch.optim.Adam(self.rbm.parameters(), lr=0.01)
        self.monitor = torch_ebm.TrainingMonitor()
        self.data = case("digits_rbm64x8_s901").array("train").float()

    def objects(self):
        return {
            "rbm": self.rbm,
            "phase": self.phase,
            "optimizer": self.optimizer,
            "monitor": self.monitor,
        }

    def update(self, n=1):
        for _ in range(n):
            batch = self.data[torch.randperm(len(self.data))[:100]]
            negative = self.phase(self.rbm)
            energies = self.rbm(batch), self.rbm(negative)
            loss = energies[0].mean() + torch.ops.torch_ebm.log_partition(energies[1])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.monitor.update(*energies, batch, negative, self.phase.start)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    whole = Run()
    whole.update(4)
    torch_ebm.save_checkpoint(tmp_path / "c.pt", step=4, **whole.objects())
    whole.update(4)
    resumed = Run(seed=2)
    resumed.update(1)
    values = torch_ebm.load_checkpoint(tmp_path / "c.pt", **resumed.objects())
    assert values == {"step": 4}
    resumed.update(4)
    for one, other in zip(whole.rbm.parameters(), resumed.rbm.parameters()):
        assert torch.equal(one, other)
    assert torch.equal(whole.phase.chains, resumed.phase.chains)
    assert whole.monitor.state_dict() == resumed.monitor.state_dict()


def test_values_come_back_as_they_were(tmp_path):
    values = {"epoch": 3, "losses": [1.0, 2.0], "best": torch.arange(3)}
    torch_ebm.save_checkpoint(str(tmp_path / "c.pt"), **values)
    loaded = torch_ebm.load_checkpoint(str(tmp_path / "c.pt"))
    assert loaded.keys() == values.keys() and torch.equal(loaded.pop("best"), torch.arange(3))
    assert loaded == {"epoch": 3, "losses": [1.0, 2.0]}


@pytest.mark.parametrize("names", [["rbm"], ["rbm", "phase", "other"], ["rbm", "fase"]])
def test_other_names_are_refused_and_nothing_is_changed(names, tmp_path):
    run = Run()
    torch_ebm.save_checkpoint(tmp_path / "c.pt", rbm=run.rbm, phase=run.phase)
    run.update(2)
    before, random = run.rbm.weight.clone(), torch.get_rng_state()
    with pytest.raises(
        ValueError, match=r"load_checkpoint: .*c\.pt holds the states of \['phase', 'rbm'\]"
    ):
        torch_ebm.load_checkpoint(tmp_path / "c.pt", **{name: run.rbm for name in names})
    assert torch.equal(run.rbm.weight, before) and torch.equal(torch.get_rng_state(), random)


def test_a_run_killed_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    torch_ebm.save_checkpoint(tmp_path / "c.pt", step=1)

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        torch_ebm.save_checkpoint(tmp_path / "c.pt", step=2)
    monkeypatch.undo()
    assert torch_ebm.load_checkpoint(tmp_path / "c.pt") == {"step": 1}
    torch_ebm.save_checkpoint(tmp_path / "c.pt", step=3)  # whatever the killed one left behind
    assert torch_ebm.load_checkpoint(tmp_path / "c.pt") == {"step": 3}
    assert os.listdir(tmp_path) == ["c.pt"]


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch_ebm.save_checkpoint(path, epoch=1)
    with pytest.raises(TypeError, match="to be read back"):
        torch_ebm.save_checkpoint(path, epoch=2, folder=tmp_path)
    assert torch_ebm.checkpoint_values(path) == {"epoch": 1}


def test_a_cut_off_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch_ebm.save_checkpoint(path, epoch=1)
    path.write_bytes(path.read_bytes()[:100])
    for read in (torch_ebm.checkpoint_values, torch_ebm.load_checkpoint):
        with pytest.raises(ValueError, match="is not a checkpoint, or is truncated"):
            read(path)
    with pytest.raises(FileNotFoundError):
        torch_ebm.checkpoint_values(tmp_path / "none.pt")
