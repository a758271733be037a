"""log Z from replica exchange against exact values."""

import functools
import math
from typing import Optional

import pytest
import scipy.stats
import torch

import torch_ebm
from known_values import all_states, random_rbm, seeded
from statistical_checks import check_count, check_mean

METHODS = pytest.mark.parametrize("method", ["mbar", "bridge", "thermodynamic_integration"])
BETAS = [1.0, 0.6, 0.3, 0.0]
UNITS = 5


@functools.cache
def machine():
    generator = seeded(1)
    model = torch_ebm.BoltzmannMachine(UNITS, dtype=torch.float64)
    with torch.no_grad():
        weight = torch.randn(UNITS, UNITS, dtype=torch.float64, generator=generator)
        model.weight.copy_((weight + weight.t()).fill_diagonal_(0) / 2)
        model.bias.copy_(torch.randn(UNITS, dtype=torch.float64, generator=generator))
    return model.requires_grad_(False)


def exact(model, n_units=UNITS):
    return torch.logsumexp(-model(all_states(n_units)), 0).item()


def start(n_ladders, n_units=UNITS, n_rungs=len(BETAS)):
    return torch.zeros(n_rungs, n_ladders, n_units, dtype=torch.float64)


def estimate(method, seed, n_ladders=8, n_steps=12):
    return torch_ebm.tempered_log_z(
        machine(),
        start(n_ladders),
        BETAS,
        torch_ebm.gibbs,
        n_steps=n_steps,
        n_burn_in=8,
        log_z_base=UNITS * math.log(2),
        method=method,
        generator=seeded(seed),
    )


@METHODS
def test_mean_and_coverage(method):
    truth, n_repeats, covered, errors = exact(machine()), 200, 0, []
    for seed in range(n_repeats):
        one = estimate(method, seed)
        errors.append(one.log_z - truth)
        covered += bool(one.lower <= truth <= one.upper)
    if method != "thermodynamic_integration":  # which leaves something out
        check_mean(torch.stack(errors), 0.0, what="error of log Z")
    assert torch.stack(errors).mean().abs() < 0.02
    check_count(covered, n_repeats, 0.93, "coverage", "less")
    assert covered >= 0.9 * n_repeats


@METHODS
def test_the_tempered_form_of_an_energy_counts(method):
    rbm = random_rbm(4, 3, 1.0, seed=2)
    result = torch_ebm.tempered_log_z(
        rbm,
        start(20, 4),
        BETAS,
        torch_ebm.gibbs,
        n_steps=400,
        n_burn_in=20,
        log_z_base=7 * math.log(2),  # of the joint energy at beta = 0
        method=method,
        generator=seeded(3),
    )
    truth = rbm.log_z().item()
    assert abs(result.log_z - truth) < result.upper - result.lower < 0.2
    assert result.warning == "" and result.betas.tolist() == BETAS


def test_energies_are_those_of_the_states_at_every_rung():
    run = torch_ebm.ladder_energies(
        machine(), start(6), BETAS, torch_ebm.gibbs, n_steps=7, n_burn_in=3, generator=seeded(4)
    )
    assert run.energies.shape == (4, 4, 7, 6) and run.energies.dtype == torch.float64
    last = machine()(run.x.flatten(0, 1)).view(4, 6)
    expected = torch.tensor(BETAS).double()[:, None, None] * last
    torch.testing.assert_close(run.energies[:, :, -1], expected)
    # It is the run of replica_exchange, and its target's states after every step.
    whole = torch_ebm.replica_exchange(
        machine(), start(6), BETAS, torch_ebm.gibbs, n_steps=10, thin=1, generator=seeded(4)
    )
    assert torch.equal(run.x, whole.x) and torch.equal(run.swap_rate, whole.swap_rate)
    for t in range(7):
        at_target = machine()(whole.trajectory[3 + t])
        torch.testing.assert_close(run.energies[0, 0, t], at_target)


def test_methods_are_the_estimators_of_the_same_energies():
    u = torch_ebm.ladder_energies(
        machine(), start(8), BETAS, torch_ebm.gibbs, n_steps=12, n_burn_in=8, generator=seeded(5)
    ).energies
    base = UNITS * math.log(2)
    by_mbar = torch_ebm.mbar(u.flatten(1), torch.full((4,), 96)).log_z
    assert estimate("mbar", 5).log_z.item() == pytest.approx(base - by_mbar[-1].item(), abs=1e-8)
    pairs = [
        torch_ebm.bridge_sampling(
            (u[r + 1, r + 1] - u[r, r + 1]).flatten(), (u[r + 1, r] - u[r, r]).flatten()
        )
        for r in range(3)
    ]
    by_bridge = estimate("bridge", 5)
    total = base + sum(pair.log_z.item() for pair in pairs)
    assert by_bridge.log_z.item() == pytest.approx(total, abs=1e-10)
    least = min(pair.ess.item() for pair in pairs)
    assert by_bridge.ess.item() == pytest.approx(least, rel=1e-9)
    energy = torch.stack([u[0, r] for r in range(4)])  # at beta = 1: E itself
    integral = torch_ebm.thermodynamic_integration(BETAS, energy)
    by_integral = estimate("thermodynamic_integration", 5)
    assert by_integral.log_z.item() == pytest.approx(base - integral.log_z.item(), abs=1e-10)
    # A jackknife and the error of the terms: the same to first order.
    assert by_integral.std_error.item() == pytest.approx(integral.std_error.item(), rel=0.1)


@METHODS
def test_the_error_is_a_jackknife_over_groups_of_ladders(method):
    n_ladders = 25  # in 20 groups

    def log_z(u):
        if method == "mbar":
            z = torch_ebm.mbar(u.flatten(1), torch.full((4,), u[0, 0].numel())).log_z
            return -z[-1].item()
        if method == "bridge":
            return sum(
                torch_ebm.bridge_sampling(
                    (u[r + 1, r + 1] - u[r, r + 1]).flatten(), (u[r + 1, r] - u[r, r]).flatten()
                ).log_z.item()
                for r in range(3)
            )
        energy = torch.stack([u[0, r] for r in range(4)])
        return -torch_ebm.thermodynamic_integration(BETAS, energy).log_z.item()

    u = torch_ebm.ladder_energies(
        machine(), start(25), BETAS, torch_ebm.gibbs, n_steps=9, n_burn_in=8, generator=seeded(6)
    ).energies
    ends = [g * n_ladders // 20 for g in range(21)]
    rest = [
        log_z(torch.cat([u[..., :begin], u[..., end:]], -1)) for begin, end in zip(ends, ends[1:])
    ]
    expected = math.sqrt(torch.tensor(rest).double().var(correction=0).item() * 19)
    result = estimate(method, 6, n_ladders=25, n_steps=9)
    assert result.std_error.item() == pytest.approx(expected, rel=1e-5)
    if method != "thermodynamic_integration":  # whose interval is longer
        quantile = (result.upper - result.log_z) / result.std_error
        assert quantile.item() == pytest.approx(scipy.stats.t.ppf(0.975, 19), rel=1e-2)


def test_the_seed_decides():
    one, again, other = estimate("mbar", 7), estimate("mbar", 7), estimate("mbar", 8)
    assert one.log_z == again.log_z and one.log_z != other.log_z


class Target(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * x.square().sum(1)


class Move(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = Target()

    def forward(
        self, x: torch.Tensor, beta: torch.Tensor, generator: Optional[torch.Generator]
    ) -> torch.Tensor:
        return torch.ops.torch_ebm.mala(
            self.energy, x, step_size=0.4, beta=beta, generator=generator, n_steps=3
        )[0]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = Target()
        self.move = Move()

    def forward(self, x: torch.Tensor, betas: torch.Tensor):
        return torch.ops.torch_ebm.tempered_log_z(
            self.energy, x, betas, self.move, n_steps=200, n_burn_in=20
        )


def test_a_scripted_model_calls_it():
    model = torch.jit.script(Model())
    ladder = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    log_z, _, lower, upper, _ = model(torch.zeros(3, 20, 2, dtype=torch.float64), ladder)
    # exp(-3 b |x|^2) in two dimensions: log Z(1) / Z(1/4) = log(1/4).
    assert abs(log_z - math.log(0.25)) < upper - lower < 0.5


def call(**options):
    arguments = {"energy": machine(), "x": start(4), "betas": BETAS, "sampler": torch_ebm.gibbs}
    return torch_ebm.tempered_log_z(**{**arguments, "n_steps": 3, **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"method": "guess"}, "method must be 'mbar', 'bridge' or 'thermo"),
        ({"x": start(1)}, "N >= 2, got \\(4, 1, 5\\)"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"n_burn_in": -1}, "n_burn_in must be at least 0"),
        ({"log_z_base": math.nan}, "log_z_base must be finite"),
        ({"betas": BETAS[::-1]}, "betas"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(options, message):
    generator = seeded(9)
    before = generator.get_state()
    with pytest.raises(ValueError, match=message):
        call(generator=generator, **options)
    assert torch.equal(generator.get_state(), before)


def test_energies_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="energies must not be NaN"):
        call(energy=lambda x: x.sum(1) * math.nan, sampler=lambda e, x, **_: x)


def test_a_ladder_with_a_gap_is_answered_with_a_warning():
    x = 0.02 * torch.randn(2, 10, 2, dtype=torch.float64, generator=seeded(10))
    x[1] *= 300
    result = torch_ebm.tempered_log_z(
        lambda x: 1000 * x.square().sum(1),
        x,
        [1.0, 1e-5],
        lambda e, x, **_: x,
        n_steps=3,
        method="bridge",
    )
    assert "samples are effective" in result.warning
