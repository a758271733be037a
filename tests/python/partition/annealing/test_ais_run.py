"""AIS runs: interrupted, saved, continued, in batches."""

import functools
import math
import sys

import pytest
import torch
from torch.distributions import Independent, Normal

import torch_ebm
from known_values import random_rbm, seeded

BASE = Independent(Normal(torch.zeros(2).double(), 2.0), 1)
MALA = functools.partial(torch_ebm.mala, step_size=0.1)


class Energy:
    """|x|^2, and after `limit` calls whatever `error` is."""

    def __init__(self, limit=10**9, error=KeyboardInterrupt):
        self.calls, self.limit, self.error = 0, limit, error

    def __call__(self, x):
        self.calls += 1
        if self.calls > self.limit:
            raise self.error
        return x.square().sum(1)


def make(energy, **changed):
    options = {"n_chains": 12, "betas": 150, "batch_size": 4, "generator": seeded(1), **changed}
    return torch_ebm.AISRun(energy, BASE, options.pop("sampler", MALA), **options)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("options", [{}, {"resample_below": 0.9, "n_groups": 2}])
@pytest.mark.parametrize("limit", [1, 90, 700, 950])
def test_an_interrupted_run_ends_as_one_that_was_not(limit, options):
    expected = make(Energy(), **options).run()
    energy = Energy(limit)
    run = make(energy, **options)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert not run.finished
    energy.limit = 10**9
    assert_same(run.run(), expected)
    assert run.finished


@pytest.mark.parametrize("limit", [90, 700])
def test_a_saved_run_ends_as_one_that_was_not(limit, tmp_path):
    expected = make(Energy()).run()
    run = make(Energy(limit))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    torch_ebm.save_checkpoint(tmp_path / "run.pt", run=run)
    other = make(Energy(), generator=seeded(2))
    torch_ebm.load_checkpoint(tmp_path / "run.pt", run=other)
    assert_same(other.run(), expected)


def test_a_sampler_found_by_a_pilot_run_is_saved_with_it(tmp_path):
    options = {"sampler": None, "betas": 20}
    energy = Energy()
    expected = make(energy, **options).run()
    run = make(Energy(limit=energy.calls - 100), **options)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    torch_ebm.save_checkpoint(tmp_path / "run.pt", run=run)
    other = make(Energy(), generator=seeded(2), **options)
    torch_ebm.load_checkpoint(tmp_path / "run.pt", run=other)
    assert_same(other.run(), expected)


def test_an_rbm_is_saved_in_the_middle_of_a_batch(tmp_path):
    rbm = random_rbm(6, 4, 1.0, seed=3)
    options = {"n_chains": 10, "betas": 300, "batch_size": 5}
    expected = torch_ebm.AISRun(rbm, generator=seeded(4), **options).run()
    run = torch_ebm.AISRun(rbm, generator=seeded(4), **options)
    for _ in range(31):  # finding no sampler, 25 stages of the first batch, 5 of the second
        run._state = run._next()
    torch_ebm.save_checkpoint(tmp_path / "run.pt", run=run)
    other = torch_ebm.AISRun(rbm, generator=seeded(5), **options)
    torch_ebm.load_checkpoint(tmp_path / "run.pt", run=other)
    assert len(other.estimate().log_weights) == 5
    assert_same(other.run(), expected)


def test_stage_ess_is_that_of_the_weights_before_they_are_resampled():
    options = {"n_chains": 8, "betas": 10, "batch_size": 8, "n_groups": 2, "resample_below": 1.0}
    estimate = make(Energy(), **options).run()
    run = make(Energy(), **options)
    run._state = run._next()
    x, _ = run._start()
    chains = torch_ebm.anneal(
        run._path.path, x, run._betas, MALA, n_groups=2, resample_below=1.0,
        generator=run._generator,
    )  # fmt: skip
    torch.testing.assert_close(estimate.stage_ess, chains.stage_ess, rtol=1e-10, atol=0)
    assert estimate.stage_ess.max() < 8


@pytest.mark.parametrize("estimator", ["reverse_ais", "raise_log_likelihood"])
def test_states_that_cannot_start_are_refused(estimator):
    function, rbm = getattr(torch_ebm, estimator), random_rbm(6, 4, 1.0, seed=3)
    bad = [
        (torch.full((3, 6), 0.5).double(), ValueError, "x must hold zeros and ones only"),
        (
            torch.zeros(3, 5).double(),
            ValueError,
            r"x must have shape \(N, V\) = \(any, 6\), got \(3, 5\)",
        ),
        (torch.zeros(3, 6), TypeError, "x must have the dtype of the RBM, Double"),
    ]
    for x, error, text in bad:
        with pytest.raises(error, match=f"{estimator}: {text}"):
            function(rbm, x)
    bad = [
        (torch.zeros(3, 2, dtype=torch.int64), TypeError, "x must have a floating dtype, got Long"),
        (torch.full((3, 2), math.nan), ValueError, "x must be finite"),
    ]
    for x, error, text in bad:
        with pytest.raises(error, match=f"{estimator}: {text}"):
            function(Energy(), x, BASE, MALA)


def test_what_is_there_after_an_interruption():
    run = make(Energy(limit=500))  # a batch takes 350: two a step, two more a stage
    with pytest.raises(KeyboardInterrupt):
        run.run()
    estimate = run.estimate()
    assert len(estimate.log_weights) == 4 and "Interrupted" not in estimate.warning
    run = make(Energy(limit=200))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    estimate = run.estimate()
    beta = estimate.betas[-1].item()
    assert 0 < beta < 1 and f"log Z at beta = {beta:.4g}, not at 1" in estimate.warning
    with pytest.raises(ValueError, match="no estimate yet"):
        make(Energy()).estimate()


def test_a_partial_estimate_is_that_of_the_law_reached():
    run = make(Energy(limit=10**9), n_chains=2000, batch_size=None)
    run.run()
    reached = make(Energy(limit=200), n_chains=2000, batch_size=None)
    with pytest.raises(KeyboardInterrupt):
        reached.run()
    estimate = reached.estimate()
    beta = estimate.betas[-1].item()
    exact = math.log(math.pi / (beta + (1 - beta) / 8)) - (1 - beta) * math.log(8 * math.pi)
    assert abs(estimate.log_z - exact) < estimate.upper - estimate.lower


def test_batches_of_unequal_size_are_one_estimate():
    rbm = random_rbm(6, 4, 1.0, seed=6)
    whole = torch_ebm.ais(rbm, n_chains=100, batch_size=40, betas=50, generator=seeded(7))
    assert len(whole.log_weights) == 100 and len(whole.stage_ess) == 25
    assert abs(whole.log_z - rbm.log_z()) < whole.upper - whole.lower


def test_stages_are_at_most_25_and_end_at_the_model():
    run = make(Energy(), betas=150)
    estimate = run.run()
    assert len(estimate.stage_ess) == 25 and len(estimate.betas) == 26
    assert estimate.betas[0] == 0 and estimate.betas[-1] == 1
    torch.testing.assert_close(estimate.stage_ess[-1], estimate.ess)
    assert estimate.stage_ess[0] > 11


def test_resampling_groups_are_what_counts():
    estimate = make(Energy(), n_groups=2, resample_below=0.5).run()
    assert len(estimate.log_weights) == 6


def test_progress_is_shown_when_asked_for(capfd):
    make(Energy()).run(progress=True)
    assert "ais" in capfd.readouterr().err
    make(Energy()).run()
    assert capfd.readouterr().err == ""


def test_the_random_state_of_torch_is_left_alone_by_a_base_that_draws_from_it():
    torch.manual_seed(8)
    before = torch.get_rng_state()
    one = make(Energy()).run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert_same(make(Energy()).run(), one)


@pytest.mark.parametrize(
    "changed, error, text",
    [
        ({"n_chains": 1}, ValueError, "ais: n_chains must be at least 2, got 1"),
        ({"batch_size": 0}, ValueError, "ais: batch_size must be at least 1, got 0"),
        ({"betas": 0}, ValueError, "linear_schedule: n_steps must be at least 1, got 0"),
        ({"betas": torch.tensor([0.0, 0.5])}, ValueError, "betas must rise strictly from 0 to 1"),
        ({"betas": torch.tensor([1.0, 0.0])}, ValueError, "betas must rise strictly from 0 to 1"),
        ({"betas": torch.zeros(2, 2)}, ValueError, "betas must have shape (K + 1,)"),
        ({"n_groups": 3}, ValueError, "n_groups must divide the chains of every batch"),
        (
            {"resample_below": 0.5, "batch_size": None},
            ValueError,
            "n_groups must be at least 2 where chains resample",
        ),
        (
            {"base_visible_bias": torch.zeros(2)},
            ValueError,
            "base_visible_bias is for an RBM without another base or sampler",
        ),
    ],
)
def test_bad_input_is_refused_by_name(changed, error, text):
    with pytest.raises(error) as caught:
        make(Energy(), **changed)
    assert text in str(caught.value)


def test_a_base_must_be_there_and_be_one():
    with pytest.raises(
        ValueError, match="base must be given, unless the energy is an RBM and no sampler"
    ):
        torch_ebm.ais(Energy())
    with pytest.raises(TypeError, match="base must have methods sample and log_prob, got int"):
        torch_ebm.ais(Energy(), 3)


def test_a_state_of_another_run_is_refused():
    state = make(Energy()).state_dict()
    with pytest.raises(ValueError, match="other betas"):
        make(Energy(), betas=100).load_state_dict(state)


class Interrupt(BaseException):
    pass


def test_an_interruption_at_any_line_of_a_stage_loses_that_stage_alone():
    expected = make(Energy(), betas=12, n_chains=4, batch_size=2).run()
    lines = set()
    for line_to_stop_at in range(200):
        run = make(Energy(), betas=12, n_chains=4, batch_size=2)
        seen = 0

        def stop(frame, event, argument):
            nonlocal seen
            if frame.f_code.co_name not in ("run", "_next", "_start"):
                return None
            if event == "line":
                seen += 1
                if seen == line_to_stop_at:
                    lines.add(frame.f_lineno)
                    raise Interrupt
            return stop

        sys.settrace(stop)
        try:
            run.run()
        except Interrupt:
            pass
        finally:
            sys.settrace(None)
        assert_same(run.run(), expected)
    assert len(lines) > 20


def test_a_failure_right_after_the_pilot_run_changes_nothing():
    options = {"sampler": None, "betas": 10, "batch_size": None}
    counting = Energy()
    run = make(counting, **options)
    run._state = run._next()
    pilot_calls = counting.calls
    expected = make(Energy(), **options).run()
    failing = Energy(limit=pilot_calls)
    run = make(failing, **options)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    failing.limit = 10**9
    assert_same(run.run(), expected)


def test_a_partial_estimate_on_the_way_down_says_what_it_is():
    x = torch.randn(3000, 2, dtype=torch.float64, generator=seeded(10)) / math.sqrt(2)
    run = torch_ebm.AISRun(Energy(limit=200), BASE, MALA, x=x, betas=150, generator=seeded(11))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    estimate = run.estimate()
    beta = estimate.betas[-1].item()
    at_beta = math.log(math.pi / (beta + (1 - beta) / 8)) - (1 - beta) * math.log(8 * math.pi)
    assert "log Z less that at beta" in estimate.warning
    difference = math.log(math.pi) - at_beta
    assert abs(estimate.log_z - difference) < 2 * (estimate.upper - estimate.lower)


def test_a_state_is_a_copy():
    run = make(Energy(limit=300))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    state = run.state_dict()
    sums, n_done = state["log_sums"].clone(), len(state["done"])
    other = make(Energy(), generator=seeded(3))
    other.load_state_dict(state)
    other.run()
    assert torch.equal(state["log_sums"], sums) and len(state["done"]) == n_done


@pytest.mark.parametrize(
    "other, name",
    [
        (lambda: make(Energy(), n_groups=2, resample_below=0.5), "n_groups"),
        (lambda: make(Energy(), resample_below=0.5), "resample_below"),
        (lambda: make(Energy(), n_chains=8), "sizes"),
        (
            lambda: torch_ebm.AISRun(
                random_rbm(3, 2, 1.0, seed=1), n_chains=12, betas=150, batch_size=4
            ),
            "path",
        ),
    ],
)
def test_states_of_other_kinds_of_run_are_refused(other, name):
    with pytest.raises(ValueError, match=f"a run with other {name}"):
        make(Energy()).load_state_dict(other().state_dict())
    with pytest.raises(ValueError, match="a run with other run"):
        make(Energy()).load_state_dict({})


def test_one_finished_chain_is_no_estimate():
    run = make(Energy(limit=470), batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    with pytest.raises(ValueError, match="no estimate yet: it takes a stage of two chains"):
        run.estimate()
