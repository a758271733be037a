"""The monitor reports planted failures, and nothing else."""

import copy
import functools

import pytest
import torch

import torch_ebm
from energies import Gaussian
from known_values import case, random_rbm


def run(rbm, phase, data, learning_rate, n_epochs=3, monitor=None):
    """Trains, and returns what the monitor said of each epoch."""
    monitor = monitor or torch_ebm.TrainingMonitor()
    optimizer = torch.optim.SGD(rbm.parameters(), lr=learning_rate)
    said = []
    for _ in range(n_epochs):
        for batch in data.split(100):
            negative = phase(rbm, batch)
            energies = rbm(batch), rbm(negative)
            loss = energies[0].mean() + torch.ops.torch_ebm.log_partition(energies[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.update(*energies, batch, negative, phase.start)
        said.append(monitor.end_epoch())
    return said


def digits():
    return case("digits_rbm64x8_s901").array("train").float()


def healthy(n=40):
    """Energies, data, negative samples and their start, with nothing wrong."""
    states = [torch.bernoulli(torch.full((n, 6), 0.5)) for _ in range(3)]
    return [torch.randn(n), torch.randn(n), *states]


def test_a_healthy_run_is_not_reported():
    rbm = torch_ebm.RBM(64, 16)
    with torch.no_grad():
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(digits()))
    said = run(rbm, torch_ebm.PCD(100, (64,), seed=121), digits(), 0.05, n_epochs=5)
    assert said == [[]] * 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which, item", [(0, "example 3"), (1, "chain 3")])
def test_an_energy_that_is_not_finite_stops_training_and_is_located(which, item, value):
    monitor, update = torch_ebm.TrainingMonitor(), healthy()
    monitor.update(*update)
    bad = [x.clone() for x in update]
    bad[which][3] = value
    with pytest.raises(RuntimeError) as error:
        monitor.update(*bad)
    text = str(error.value)
    assert item in text and "at update 2" in text and "learning rate" in text
    monitor.update(*update)  # the refused update left nothing behind
    assert monitor.end_epoch() == []


@pytest.mark.filterwarnings("ignore::torch_ebm.TrainingWarning")
def test_a_huge_learning_rate_is_reported():
    rbm = torch_ebm.RBM(64, 16)
    said = run(rbm, torch_ebm.PCD(100, (64,), seed=122), digits(), 1000.0)
    assert any("learning rate" in text for text in sum(said, []))


def test_a_gap_that_swings_from_side_to_side_is_reported():
    monitor, update = torch_ebm.TrainingMonitor(), healthy()
    for shift in (100, -100):
        monitor.update(update[0], update[1] + shift, *update[2:])
    with pytest.warns(torch_ebm.TrainingWarning, match="energy gap exploded"):
        monitor.end_epoch()


@pytest.mark.filterwarnings("ignore::torch_ebm.TrainingWarning")
def test_chains_that_cannot_follow_the_model_are_reported():
    energy = Gaussian(torch.zeros(1), torch.ones(1, 1))
    sampler = functools.partial(torch_ebm.langevin, step_size=1e-3)
    said = run(
        energy, torch_ebm.PCD(100, (1,), sampler, law="normal"), torch.randn(500, 1) + 20, 1e-4
    )
    assert any("gap exploded" in text for text in sum(said, []))


def test_an_exploded_gap_is_a_warning():
    monitor, update = torch_ebm.TrainingMonitor(), healthy()
    update[1] = update[1] + 100
    monitor.update(*update)
    with pytest.warns(torch_ebm.TrainingWarning, match="energy gap exploded"):
        (text,) = monitor.end_epoch()
    assert "learning rate" in text


@pytest.mark.filterwarnings("ignore::torch_ebm.TrainingWarning")
def test_frozen_chains_are_reported():
    # Weights so large that no unit ever flips. All 64 states have the same energy.
    rbm = torch_ebm.RBM(6, 6)
    with torch.no_grad():
        rbm.weight.copy_(400 * torch.eye(6))
        rbm.visible_bias.fill_(-200.0)
        rbm.hidden_bias.fill_(-200.0)
    data = torch.bernoulli(torch.full((300, 6), 0.5))
    monitor, phase = torch_ebm.TrainingMonitor(), torch_ebm.PCD(100, (6,), seed=123)
    for _ in range(3):
        negative = phase(rbm, data)
        monitor.update(rbm(data), rbm(negative), data, negative, phase.start)
    constant, frozen = monitor.end_epoch()
    assert "chains are frozen: 0 of them" in frozen and "no gradient" in constant


def test_collapsed_chains_are_reported():
    # One unit moves in each chain, all the others are the same in all chains.
    monitor, update = torch_ebm.TrainingMonitor(), healthy(200)
    start, negative = torch.zeros(200, 6), torch.zeros(200, 6)
    negative[:4, 0] = 1
    update[3:] = [negative, start]
    monitor.update(*update)
    with pytest.warns(torch_ebm.TrainingWarning, match="chains collapsed"):
        monitor.end_epoch()


def reported(**changes):
    """What the monitor says of ten updates in which some of the five arguments are others."""
    names = ["positive_energies", "negative_energies", "positive", "negative", "start"]
    monitor = torch_ebm.TrainingMonitor()
    torch.manual_seed(125)
    for step in range(10):
        update = dict(zip(names, healthy(100)))
        update |= {"positive": torch.randn(100, 6), "negative": torch.randn(100, 6)}
        update |= {name: change(step, update[name]) for name, change in changes.items()}
        monitor.update(**update)
    return monitor, monitor.end_epoch()


PLANTED = {
    # The negatives' own spread does not hide the gap.
    "gap exploded": {"negative_energies": lambda step, e: 1000 * e.abs().sqrt() + 200},
    "swings from side to side": {"negative_energies": lambda step, e: e + 3 * (-1) ** step},
    "where no data are": {"negative_energies": lambda step, e: e - 2},
    "no gradient": {
        "positive_energies": lambda step, e: torch.full_like(e, 7.0),
        "negative_energies": lambda step, e: torch.full_like(e, 7.0),
    },
    "ran away": {"negative": lambda step, x: 30 * x},
    "stuck at their bounds": {"negative": lambda step, x: (3 * x).clamp(-1, 1)},
}


@pytest.mark.filterwarnings("ignore::torch_ebm.TrainingWarning")
@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_failure_is_reported_alone(what):
    _, (text,) = reported(**PLANTED[what])
    assert what in text


def test_small_batches_and_one_number_each_are_no_failures():
    monitor = torch_ebm.TrainingMonitor()
    torch.manual_seed(126)
    for _ in range(200):  # the gap of a batch of 2 swings by itself
        energies, states = torch.randn(2, 2), torch.randn(3, 2, 1)
        monitor.update(*energies, *states)
    assert monitor.end_epoch() == []


def test_measures_are_those_of_the_epoch():
    monitor, said = reported(
        negative_energies=lambda step, e: e + step, negative=lambda step, x: 2 * x
    )
    assert said == []
    measures = monitor.measures()
    weights = 0.95 ** torch.arange(9, -1, -1.0).double()
    gap = (weights * torch.arange(10)).sum() / weights.sum()
    # The noise of a mean over 10 batches of 100, five standard errors.
    assert abs(measures["gap"] - gap) < 5 * (2 / 1000) ** 0.5
    assert abs(measures["spread"] - 1) < 5 / 2000**0.5
    assert abs(measures["variance_ratio"] - 4) < 5 * 4 * (2 / 3000) ** 0.5
    assert measures["updates"] == 10 and measures["moved"] == 1
    monitor.update(*healthy())
    assert monitor.measures()["updates"] == 11
    assert torch_ebm.TrainingMonitor().measures()["updates"] == 0


def test_a_new_epoch_forgets_the_last():
    monitor, update = torch_ebm.TrainingMonitor(), healthy()
    bad = [update[0], update[1] + 100, *update[2:]]
    monitor.update(*bad)
    with pytest.warns(torch_ebm.TrainingWarning):
        monitor.end_epoch()
    monitor.update(*update)
    assert monitor.end_epoch() == []
    assert monitor.end_epoch() == []


def test_state_round_trip_in_the_middle_of_an_epoch():
    monitor, restored, update = torch_ebm.TrainingMonitor(), torch_ebm.TrainingMonitor(), healthy()
    monitor.update(*update[:1], update[1] + 100, *update[2:])
    restored.load_state_dict(copy.deepcopy(monitor.state_dict()))
    with pytest.warns(torch_ebm.TrainingWarning):
        said = monitor.end_epoch()
    with pytest.warns(torch_ebm.TrainingWarning):
        assert restored.end_epoch() == said


def test_energies_need_not_be_detached():
    monitor, update = torch_ebm.TrainingMonitor(), healthy()
    rbm = random_rbm(6, 4, 1.0, seed=124, dtype=torch.float32)
    monitor.update(rbm(update[2]), rbm(update[3]), *update[2:])
    assert monitor.end_epoch() == []


@pytest.mark.parametrize(
    "position, value, what",
    [
        (0, torch.zeros(3, 1), "positive_energies"),
        (1, torch.zeros(0), "negative_energies"),
        (2, torch.zeros(0, 6), "positive"),
        (3, torch.zeros(0, 6), "negative"),
        (4, torch.zeros(3, 6), "start"),
    ],
)
def test_wrong_shapes_are_refused(position, value, what):
    update = healthy()
    update[position] = value
    with pytest.raises(ValueError, match=f"TrainingMonitor: {what} must"):
        torch_ebm.TrainingMonitor().update(*update)
