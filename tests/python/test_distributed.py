"""Two processes under DistributedDataParallel: every one has chains of its own."""

import copy

import pytest
import torch

import torch_ebm

PHASES = {
    "PCD": lambda: torch_ebm.PCD(8, (4,)),
    "TemperedPCD": lambda: torch_ebm.TemperedPCD(8, (4,), [1.0, 0.5]),
    "FastPCD": lambda: torch_ebm.FastPCD(8, (4,), torch_ebm.RBM(4, 3), fast_learning_rate=0.1),
    "ReplayBuffer": lambda: torch_ebm.ReplayBuffer(
        20, 8, (4,), torch_ebm.gibbs, law="bernoulli"
    ),
}


class Model(torch.nn.Module):
    """A model that holds its negative phases, as a LightningModule does."""

    def __init__(self):
        super().__init__()
        self.rbm = torch_ebm.RBM(4, 3)
        self.phases = torch.nn.ModuleDict({name: make() for name, make in PHASES.items()})
        tempered = self.phases["TemperedPCD"]
        self.tracker = torch_ebm.LogZTracker(self.rbm, tempered.chains, tempered.betas)

    def forward(self, x):
        loss = self.rbm(x).mean()
        for phase in self.phases.values():
            loss = loss - self.rbm(phase(self.rbm, x)).mean()
        self.tracker.update(self.rbm, self.phases["TemperedPCD"].chains)
        return loss


def chains_of(phase):
    return phase.states if hasattr(phase, "states") else phase.chains


def train(rank, path, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}", rank=rank, world_size=2
    )
    torch.manual_seed(0)  # the same on every rank
    model = torch.nn.parallel.DistributedDataParallel(Model())
    x = torch.ones(8, 4)
    for _ in range(3):
        model(x).backward()
    # A checkpoint of rank 0, loaded by all, must not make them the same either; one of its own
    # continues bit for bit.
    own, other = (torch_ebm.PCD(8, (4,)) for _ in range(2))
    own.load_state_dict(copy.deepcopy(model.module.phases["PCD"].state_dict()))
    saved = [own.state_dict()]
    torch.distributed.broadcast_object_list(saved, src=0)
    other.load_state_dict(saved[0])
    expected = model.module.phases["PCD"](model.module.rbm)
    found = {name: chains_of(phase).clone() for name, phase in model.module.phases.items()}
    tracker = model.module.tracker
    found["what LogZTracker tracks"] = tracker.mean.clone()
    copied = torch_ebm.LogZTracker(model.module.rbm, tracker.chains, tracker.betas)
    copied.load_state_dict(tracker.state_dict())
    model(x)  # what forward would overwrite, it overwrites before it runs
    copied.update(model.module.rbm, model.module.phases["TemperedPCD"].chains)
    found["tracked on"] = torch.equal(copied.mean, tracker.mean)
    found["continued"] = torch.equal(own(model.module.rbm), expected)
    found["of rank 0"] = other(model.module.rbm)
    torch.save(found, f"{results}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_every_rank_has_chains_of_its_own(tmp_path):
    torch.multiprocessing.spawn(train, (str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)
    zero, one = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for rank in (zero, one):
        assert rank.pop("continued") and rank.pop("tracked on")
    for name in zero:
        assert not torch.equal(zero[name], one[name]), name


def test_negative_phases_have_no_buffers_but_a_state():
    for name, make in PHASES.items():
        phase = make()
        assert not list(phase.buffers()), name
        moved = make().double()
        moved.load_state_dict(phase.state_dict())
        assert chains_of(moved).dtype == torch.float64
        assert torch.equal(chains_of(moved).float(), chains_of(phase))
        assert torch.equal(moved.generator_state, phase.generator_state)
        with pytest.raises(RuntimeError, match="Missing key"):
            moved.load_state_dict({})
        wrong = dict(phase.state_dict(), generator_state=torch.zeros(3))
        with pytest.raises(RuntimeError, match="generator_state must have the shape"):
            moved.load_state_dict(wrong)
