"""Progress bars, and Ctrl-C inside an operator."""

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


LONG = {
    "ais": long_ais,
    "moment_averaged_path": lambda: torch_ebm.moment_averaged_path(
        RBM, torch.zeros(100), n_updates=10_000_000
    ),
    "rbm_gibbs": lambda: RBM.gibbs(torch.zeros(10, 100), 10_000_000),
    "gibbs": lambda: torch_ebm.gibbs(
        lambda x: x.sum(1), torch.zeros(10, 100), n_steps=10_000_000
    ).x,
    "langevin": lambda: torch_ebm.langevin(
        standard_normal, torch.zeros(9, 9), n_steps=10_000_000
    ).x,
    "exact_log_z": lambda: torch_ebm.exact_log_z(lambda x: x.sum(1).exp().cumsum(0), 25),
}


@pytest.mark.parametrize("operation", LONG)
def test_ctrl_c_stops_an_operator_within_a_second(operation):
    weight = RBM.weight.clone()
    before = signal.setitimer(signal.ITIMER_REAL, 0.3)
    assert before == (0.0, 0.0)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            LONG[operation]()
        assert time.monotonic() - begin < 1.3
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert torch.equal(RBM.weight, weight)
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

    class Bar(torch_ebm.ais_run.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append(self)

    monkeypatch.setattr(torch_ebm.ais_run, "tqdm", Bar)
    long_ais(n_temperatures=10000, progress=True)
    assert len(bars) == 1 and bars[0].n > 0
