"""log Z over training: the filter, its error, what training does to it, and what is kept."""

import copy
import math

import pytest
import scipy.stats
import torch

import torch_ebm
from known_values import all_states, random_rbm, seeded
from naive_log_z_tracker import NaiveLogZTracker
from statistical_checks import check_count, check_distribution, check_mean

BETAS = [1.0, 0.6, 0.3, 0.0]
N_CHAINS = 20
BASE = 9 * math.log(2)  # of 6 + 3 units
ops = torch.ops.torch_ebm


def model(scale=1.0, seed=4):
    return random_rbm(6, 3, scale, seed)


def chains_for(seed=1, n_chains=N_CHAINS, betas=BETAS, n_visible=6):
    return torch_ebm.TemperedPCD(n_chains, (n_visible,), betas, seed=seed).double()


def disturb(rbm, generator, scale=0.05):
    with torch.no_grad():
        for parameter in rbm.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(scale * noise)


class Base(torch.nn.Module):
    """An energy of three units with a base of its own."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]).double())

    def forward(self, x):
        return -(x @ self.weight) + x[:, 0] * x[:, 1]

    def base_energy(self, x):
        return 0.7 * x.sum(1)


def test_updates_are_those_of_the_dense_filter():
    rbm, pcd, generator = model(), chains_for(), seeded(2)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
    naive, previous = NaiveLogZTracker(BETAS), copy.deepcopy(rbm)
    for i in range(6):
        pcd(rbm)
        tracker.update(rbm, pcd.chains, BASE + i)
        naive.update(rbm, previous, pcd.chains, BASE + i)
        for name in ("mean", "covariance", "deviations", "innovation"):
            torch.testing.assert_close(
                getattr(tracker, name), getattr(naive, name), rtol=1e-9, atol=1e-11
            )
        estimate = tracker.estimate()
        half = scipy.stats.t.ppf(0.975, N_CHAINS - 1) * naive.std_error
        assert estimate.std_error.item() == pytest.approx(naive.std_error, rel=1e-10)
        assert estimate.upper.item() == pytest.approx(naive.mean[0].item() + half, rel=1e-6)
        assert estimate.lower.item() == pytest.approx(naive.mean[0].item() - half, rel=1e-6)
        assert estimate.ess.item() == pytest.approx(naive.ess, rel=1e-9)
        assert torch.equal(tracker.log_z(), torch.cat([tracker.mean[:3], tracker.log_z_base[None]]))
        assert tracker.n_updates == i + 1 and tracker.log_z_base == BASE + i
        previous.load_state_dict(rbm.state_dict())
        disturb(rbm, generator)


def test_anchoring_weighs_both_estimates_by_their_errors():
    rbm, pcd, generator = model(), chains_for(), seeded(2)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
    for _ in range(4):
        pcd(rbm)
        tracker.update(rbm, pcd.chains, BASE)
        disturb(rbm, generator)
    log_z, error = tracker.estimate().log_z.item(), tracker.estimate().std_error.item()
    other = tracker.estimate()._replace(
        log_z=torch.tensor(log_z + 0.3), std_error=torch.tensor(2 * error)
    )
    tracker.anchor(other)
    both = tracker.estimate()
    assert both.log_z.item() == pytest.approx(log_z + 0.3 / 5)
    assert both.std_error.item() == pytest.approx(error * math.sqrt(4 / 5))
    exact = tracker.estimate()._replace(log_z=rbm.log_z(), std_error=torch.tensor(0.0))
    tracker.anchor(exact)
    assert tracker.estimate().log_z.item() == pytest.approx(rbm.log_z().item(), abs=1e-12)
    assert tracker.estimate().std_error.item() < 1e-9
    pcd(rbm)
    tracker.update(rbm, pcd.chains, BASE)  # the anchor's error and the ladders' go on
    assert 0 < tracker.estimate().std_error < error


def test_without_a_change_the_error_is_known_and_falls():
    rbm = model(scale=1.5)
    exact, errors, first = rbm.log_z().item(), [], []
    for seed in range(60):
        pcd = chains_for(seed, n_chains=30)
        for _ in range(10):
            pcd(rbm)
        tracker = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
        for _ in range(20):
            pcd(rbm)
            tracker.update(rbm, pcd.chains, BASE)
            if tracker.n_updates == 1:
                first.append(tracker.estimate().std_error)
        estimate = tracker.estimate()
        errors.append((estimate.log_z - exact) / estimate.std_error)
        assert torch.equal(tracker.mean[3:], torch.zeros(3).double())  # no drift
    check_mean(torch.stack(errors), 0.0, what="error, in standard errors")
    check_distribution(torch.stack(errors), scipy.stats.t(29), what="errors follow Student's law")
    assert estimate.std_error < 0.6 * torch.stack(first).mean()


def training_runs(n_runs=40):
    """log Z - exact, in standard errors, and whether it is covered, at the end of PCD training."""
    betas = torch.linspace(1, 0, 6).double()
    errors, covered = [], 0
    for seed in range(n_runs):
        generator = seeded(seed)
        data = (torch.rand(40, 12, generator=generator) < 0.3).double()
        rbm, pcd = random_rbm(12, 8, 0.1, seed), chains_for(seed, 40, betas, 12)
        tracker = torch_ebm.LogZTracker(rbm, pcd.chains, betas)
        optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
        for _ in range(60):
            negative = pcd(rbm)
            tracker.update(rbm, pcd.chains, 20 * math.log(2))
            estimate = tracker.estimate()
            loss = rbm(data).mean() + torch_ebm.log_partition(rbm, negative, estimate.log_z)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() == pytest.approx(
            rbm_loss_at(tracker.previous, data, estimate.log_z), abs=1e-9
        )
        exact = tracker.previous.log_z()
        errors.append((estimate.log_z - exact) / estimate.std_error)
        covered += bool(estimate.lower <= exact <= estimate.upper)
    return torch.stack(errors), covered


def rbm_loss_at(rbm, data, log_z):
    with torch.no_grad():
        return (rbm(data).mean() + log_z).item()


def test_in_training_the_interval_holds_the_exact_value():
    # Without drift in the filter the estimate is too low by several standard errors.
    errors, covered = training_runs()
    check_count(covered, len(errors), 0.95, "intervals that cover", alternative="less")
    assert errors.mean().abs() < 0.5 and errors.std() < 1.6


def test_energies_with_a_base_of_their_own():
    energy = Base()
    x = all_states(3)
    exact = torch.logsumexp(-energy(x).detach(), 0).item()
    base = torch.logsumexp(-energy.base_energy(x), 0)
    betas = [1.0, 0.5, 0.0]
    pcd = torch_ebm.TemperedPCD(400, (3,), betas, seed=1).double()
    tracker = torch_ebm.LogZTracker(energy, pcd.chains, betas)
    for _ in range(20):
        pcd(energy)
        tracker.update(energy, pcd.chains, base)
    estimate = tracker.estimate()
    assert abs(estimate.log_z.item() - exact) < 4 * estimate.std_error
    assert estimate.std_error < 0.05 and not estimate.warning
    assert estimate.betas.tolist() == betas and len(estimate.log_weights) == 0


def test_a_saved_tracker_goes_on_bit_for_bit(tmp_path):
    def start():
        rbm, pcd = model(), chains_for()
        return {"rbm": rbm, "pcd": pcd, "tracker": torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)}

    def go_on(objects, n, generator):
        for _ in range(n):
            objects["pcd"](objects["rbm"])
            objects["tracker"].update(objects["rbm"], objects["pcd"].chains, BASE)
            disturb(objects["rbm"], generator)

    run, again, path = start(), start(), tmp_path / "checkpoint.pt"
    go_on(run, 4, seeded(1))
    torch_ebm.save_checkpoint(path, **run)
    go_on(run, 3, seeded(2))
    torch_ebm.load_checkpoint(path, **again)
    go_on(again, 3, seeded(2))
    for name, value in run["tracker"].state_dict().items():
        assert torch.equal(value, again["tracker"].state_dict()[name]), name


def test_a_scripted_model_tracks_itself():
    class Tracked(torch.nn.Module):
        def __init__(self, rbm):
            super().__init__()
            self.rbm = rbm

        def forward(self, track: list[torch.Tensor], chains: torch.Tensor, betas: torch.Tensor):
            track = torch.ops.torch_ebm.track_log_z(
                track, self.rbm, self.rbm, chains, betas, log_z_base=6.0
            )
            return torch.ops.torch_ebm.rung_log_z(track)

    rbm, pcd = model(), chains_for()
    pcd(rbm)
    track = ops.log_z_track(pcd.chains, pcd.betas)
    log_z = torch.jit.script(Tracked(rbm))(track, pcd.chains, pcd.betas)
    tracker = torch_ebm.LogZTracker(torch.jit.script(rbm), pcd.chains, BETAS)
    tracker.update(torch.jit.script(rbm), pcd.chains, 6.0)
    assert torch.equal(log_z, tracker.log_z())


def test_warnings_are_said():
    rbm = model()
    pcd = chains_for()
    pcd(rbm)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
    tracker.update(rbm, pcd.chains, BASE)
    pcd(rbm)
    tracker.update(rbm, pcd.chains, BASE + 3)
    assert "standard errors from the tracked values" in tracker.estimate().warning
    with torch.no_grad():
        rbm.weight.mul_(50)
    tracker.update(rbm, pcd.chains, BASE)
    assert "effective" in tracker.estimate().warning


def test_modes_and_gradients_do_not_matter():
    rbm, pcd = model(), chains_for()
    pcd(rbm)
    with torch.inference_mode():
        inside = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
        inside.update(rbm, pcd.chains, BASE)
    outside = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
    outside.update(rbm, pcd.chains, BASE)
    inside.update(rbm, pcd.chains, BASE)
    outside.update(rbm, pcd.chains, BASE)
    assert torch.equal(inside.mean, outside.mean)
    assert rbm.weight.grad is None and not list(
        filter(lambda p: p.requires_grad, outside.previous.parameters())
    )


def updated(chains=None, base=BASE, betas=BETAS, change=None):
    rbm, pcd = model(), chains_for()
    pcd(rbm)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, betas)
    tracker.update(rbm, pcd.chains, BASE)
    before = {name: value.clone() for name, value in tracker.state_dict().items()}
    if change is not None:
        with torch.no_grad():
            rbm.weight.fill_(change)
    try:
        tracker.update(rbm, pcd.chains if chains is None else chains, base)
    finally:
        for name, value in tracker.state_dict().items():
            assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"chains": torch.zeros(4, 21, 6).double()}, r"chains must have shape \(4, 20, 6\), got"),
        ({"chains": torch.zeros(3, 20, 6).double()}, r"chains must have shape \(4, 20, 6\), got"),
        ({"base": math.nan}, "log_z_base must be finite, got nan"),
        ({"base": math.inf}, "log_z_base must be finite, got inf"),
        ({"change": math.nan}, "NaN"),
        ({"betas": [1.0, 0.5, 0.0]}, r"chains must have shape \(R, N, ...\) = \(3, at least 2"),
        ({"betas": [1.0, 0.5, 0.6, 0.0]}, "log_z_track: betas must"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(wrong, message):
    with pytest.raises(ValueError, match=message):
        updated(**wrong)


def test_other_bad_input():
    rbm, pcd = model(), chains_for()
    with pytest.raises(TypeError, match="track_log_z: chains must have the dtype"):
        updated(chains=torch.zeros(4, 20, 6))
    with pytest.raises(TypeError, match="energy must be a torch.nn.Module, got function"):
        torch_ebm.LogZTracker(lambda x: x.sum(1), pcd.chains, BETAS)
    with pytest.raises(ValueError, match="at least 2"):
        torch_ebm.LogZTracker(rbm, pcd.chains[:, :1], BETAS)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, BETAS)
    for call in (tracker.estimate, tracker.log_z):
        with pytest.raises(ValueError, match="before the first update"):
            call()
    tracker.update(rbm, pcd.chains, BASE)
    estimate = tracker.estimate()
    with pytest.raises(ValueError, match="anchor_log_z: log_z must be finite"):
        tracker.anchor(estimate._replace(log_z=torch.tensor(math.nan)))
    with pytest.raises(ValueError, match="anchor_log_z: std_error must be finite and >= 0"):
        tracker.anchor(estimate._replace(std_error=torch.tensor(-1.0)))
    with pytest.raises(ValueError, match="track must hold 10 tensors"):
        ops.tracked_log_z([torch.zeros(3)])
