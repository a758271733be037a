"""Progress bars, and Ctrl-C inside an operator."""

import functools
import signal
import time

import pytest
import torch

import torch_ebm
from energies import standard_normal
from known_values import random_rbm, seeded

RBM = random_rbm(100, 100, 0.1, seed=131, dtype=torch.float32)


def long_ais(n_temperatures=10_000_000, **options):
    betas = torch.linspace(0, 1, n_temperatures + 1, dtype=torch.float64)
    return torch_ebm.ais(RBM, betas=betas, **options)


BITS = torch.zeros(10, 100)
WIDE = (torch.rand(16, 784, generator=seeded(1)) < 0.5).float()


class Scripted(torch.nn.Module):
    """An energy without any method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(784, 200), torch.nn.Softplus(), torch.nn.Linear(200, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(1)


SCRIPTED = torch.jit.script(Scripted())


def row_sum(x):
    return x.sum(1)


def ladder_of(function, **options):
    sampler = functools.partial(torch_ebm.gibbs, n_steps=1)
    return function(row_sum, torch.zeros(3, 5, 100), torch.tensor([1.0, 0.5, 0.2]), sampler, **options)


N_STEPS = {"n_steps": 10_000_000}
NORMAL = {"step_size": 0.1, **N_STEPS}

#: Every operator that can be long, on a problem that takes minutes.
LONG = {
    "ais": long_ais,
    "moment_averaged_path": lambda: torch_ebm.moment_averaged_path(
        RBM, torch.zeros(100), n_updates=10_000_000
    ),
    "rbm_gibbs": lambda: RBM.gibbs(BITS, 10_000_000),
    "RBM.sample": lambda: random_rbm(20, 3000, 0.1, seed=1).sample(1000),
    "RBM.log_z": lambda: random_rbm(25, 300, 0.1, seed=1).log_z(),
    "boltzmann_gibbs": lambda: torch_ebm.BoltzmannMachine(100).gibbs(BITS, 10_000_000),
    "gibbs": lambda: torch_ebm.gibbs(row_sum, BITS, **N_STEPS),
    "gibbs_with_gradients": lambda: torch_ebm.gibbs_with_gradients(row_sum, BITS, **N_STEPS),
    "discrete_langevin": lambda: torch_ebm.discrete_langevin(row_sum, BITS, **NORMAL),
    **{
        name: lambda name=name: getattr(torch_ebm, name)(
            standard_normal, torch.zeros(9, 9), **NORMAL
        )
        for name in ("langevin", "underdamped_langevin", "mala", "hmc", "nuts")
    },
    "warm_up": lambda: torch_ebm.warm_up(standard_normal, torch.zeros(9, 9), **N_STEPS),
    "tune_path": lambda: torch_ebm.tune_path(standard_normal, torch.zeros(9, 9), **N_STEPS),
    "replica_exchange": lambda: ladder_of(torch_ebm.replica_exchange, n_steps=100_000),
    "tempered_transitions": lambda: torch_ebm.tempered_transitions(
        row_sum, BITS, torch.tensor([1.0, 0.5]), torch_ebm.gibbs, **N_STEPS
    ),
    "ladder_energies": lambda: ladder_of(torch_ebm.ladder_energies, n_steps=100_000),
    "linked_ais": lambda: torch_ebm.linked_ais(
        row_sum,
        torch.distributions.Independent(torch.distributions.Bernoulli(torch.full((100,), 0.5)), 1),
        torch_ebm.gibbs,
        betas=100_000,
    ),
    "exact_log_z": lambda: torch_ebm.exact_log_z(lambda x: x.sum(1).exp().cumsum(0), 25),
    "quadrature_log_z": lambda: torch_ebm.quadrature_log_z(
        standard_normal, [-5.0] * 3, [5.0] * 3, n_panels=40
    ),
    "ising_log_z": lambda: torch_ebm.ising_log_z(0.4, size=(2000, 16), periodic=(False, False)),
    "mbar": lambda: torch_ebm.mbar(
        torch.rand(50, 200_000, generator=seeded(1)).double(), torch.full((50,), 4_000)
    ),
    "kernel_stein_discrepancy": lambda: torch_ebm.kernel_stein_discrepancy(
        standard_normal, torch.randn(4_000, 784, generator=seeded(1))
    ),
    "pseudolikelihood": lambda: torch_ebm.pseudolikelihood(SCRIPTED, WIDE.repeat(20, 1)),
    "pseudolikelihood in chunks": lambda: torch_ebm.pseudolikelihood(
        SCRIPTED, WIDE.repeat(20, 1), chunk_size=100
    ),
    "score_matching": lambda: torch_ebm.score_matching(SCRIPTED, WIDE.repeat(20, 1)),
    "sliced_score_matching": lambda: torch_ebm.sliced_score_matching(
        SCRIPTED, WIDE, n_projections=100_000
    ),
    "energy_discrepancy": lambda: torch_ebm.energy_discrepancy(
        SCRIPTED, WIDE, flip_probability=0.1, n_samples=100_000
    ),
    "unbiased_cd": lambda: torch_ebm.UnbiasedCD(10_000_000, max_steps=20_000_000)(row_sum, BITS),
    "log_likelihood": lambda: torch_ebm.log_likelihood(
        SCRIPTED, WIDE.repeat(2_000, 1), 0.0, batch_size=1
    ),
    "ess_bulk": lambda: torch_ebm.ess_bulk(torch.randn(1000, 20, 1000, generator=seeded(1))),
}


@pytest.mark.parametrize("operation", LONG)
def test_ctrl_c_is_answered_within_half_a_second(operation):
    """Of processor time: other processes may share the machine."""
    weight = RBM.weight.clone()
    previous = signal.signal(signal.SIGPROF, signal.default_int_handler)
    begin = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.2)
        with pytest.raises(KeyboardInterrupt):
            LONG[operation]()
        assert time.process_time() - begin < 0.2 + 0.5
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    assert torch.equal(RBM.weight, weight)


def test_an_interrupted_operator_can_be_called_again():
    assert torch_ebm.ais(RBM, n_chains=2, betas=torch.linspace(0, 1, 5)).log_z.isfinite()


def test_a_bar_shows_the_operation_and_is_closed(capfd):
    expected = long_ais(n_temperatures=3000, generator=seeded(1)).log_z
    assert capfd.readouterr().err == ""
    assert long_ais(n_temperatures=3000, generator=seeded(1), progress=True).log_z == expected
    shown = capfd.readouterr().err
    assert "ais: " in shown and "/25" in shown
    long_ais(n_temperatures=3000)
    assert capfd.readouterr().err == ""


def test_a_bar_inside_a_bar_keeps_the_outer_one_on(capfd):
    with torch_ebm.progress_bar():
        with torch_ebm.progress_bar():
            pass
        long_ais(n_temperatures=3000)
    assert "ais: " in capfd.readouterr().err


def test_several_operators_show_their_own_bars(capfd):
    with torch_ebm.progress_bar():
        long_ais(n_temperatures=3000)
        torch_ebm.gibbs(lambda x: x.sum(1), torch.zeros(10, 100), n_steps=300).x
    shown = capfd.readouterr().err
    assert "ais: " in shown and "gibbs: " in shown


def test_an_operator_has_one_bar_that_fills(monkeypatch):
    bars = []

    class Bar(torch_ebm.partition.annealing.ais_run.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append(self)

    monkeypatch.setattr(torch_ebm.partition.annealing.ais_run, "tqdm", Bar)
    long_ais(n_temperatures=10000, progress=True)
    assert len(bars) == 1 and bars[0].n > 0
