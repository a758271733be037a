"""R-hat and effective sizes against ArviZ, stored values and AR(1) chains; round trips by hand."""

import math
import re

import numpy as np
import pytest
import torch

import torch_ebm
from known_values import case, seeded
from statistical_checks import check_mean

NAMES = ["r_hat", "ess_bulk", "ess_tail", "ess_mean", "mcse_mean"]
ALL = [*NAMES, "autocorrelation_time", "autocorrelation"]


def normal(*size, seed=0):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def ar1(rho, *size, seed=0):
    """Stationary chains x_t = rho x_{t-1} + noise of variance 1, along the first dimension."""
    x = normal(*size, seed=seed)
    for t in range(1, size[0]):
        x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * x[t]
    return x


def arviz(name, x):
    stats = pytest.importorskip("arviz_stats.base").array_stats
    chains = np.moveaxis(x.numpy(), (0, 1), (-1, -2))
    with np.errstate(all="ignore"):
        if name == "r_hat":
            return stats.rhat(chains)
        if name == "mcse_mean":
            return stats.mcse(chains, method="mean")
        prob = {"prob": (0.05, 0.95)} if name == "ess_tail" else {}
        return stats.ess(chains, method=name.removeprefix("ess_"), **prob)


ARRAYS = {
    "positive": lambda: ar1(0.8, 200, 4, 6),
    "slow": lambda: ar1(0.99, 150, 3, 20),
    "negative, odd": lambda: ar1(-0.7, 101, 3, 2, 3),
    "shifted": lambda: ar1(0.5, 50, 4, 3) + torch.arange(4.0)[:, None],
    "one chain stands out in scale": lambda: normal(60, 4, 3)
    * torch.tensor([1, 1, 1, 5.0])[:, None],
    "many ties": lambda: torch.randint(0, 3, (60, 4, 8), generator=seeded(1)).double(),
    "binary": lambda: torch.randint(0, 2, (50, 2, 9), generator=seeded(2)).double(),
    "spins, half up": lambda: (1 - 2 * (torch.arange(42) // 3 % 2.0)).double().repeat(3, 1).t(),
    "heavy tails": lambda: normal(77, 5, 4) / normal(77, 5, 4, seed=1),
    "trend": lambda: torch.linspace(0, 1, 30).double()[:, None] + 0.1 * normal(30, 2),
    "one quantity": lambda: ar1(0.5, 90, 4),
    "one chain": lambda: ar1(0.5, 90, 1, 5),
    "constant": lambda: torch.full((10, 3), 0.1).double(),
    "stuck": lambda: torch.tensor([0.1, 0.3, 0.7]).double().repeat(11, 1),
    **{f"{n} draws": lambda n=n: normal(n, 3, 40) for n in range(4, 16)},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("array", ARRAYS)
def test_what_arviz_computes(array, name):
    x = ARRAYS[array]()
    found = getattr(torch_ebm, name)(x)
    assert found.dtype == torch.float64 and found.shape == x.shape[2:]
    np.testing.assert_allclose(found.numpy(), arviz(name, x), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("chains", ["diag_ar1_s90", "diag_ar1_s91"])
@pytest.mark.parametrize(
    "name, stored", [("r_hat", "rhat_rank"), *((name, name) for name in NAMES[1:])]
)
def test_the_stored_values(chains, name, stored):
    x = case(chains).array("x").t()
    found = float(getattr(torch_ebm, name)(x))
    assert found == pytest.approx(case(chains)[stored], rel=1e-10)
    assert float(getattr(torch_ebm, name)(x.float())) == pytest.approx(found, rel=1e-12)


# --- AR(1) chains, whose correlations are known -------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.5])
def test_the_autocorrelation_time_of_ar1(rho):
    # 250 independent estimates. Their bias is of order time^2 / n_draws, below a tenth of the tolerance.
    exact = (1 + rho) / (1 - rho)
    time = torch_ebm.autocorrelation_time(ar1(rho, 2000, 4, 250, seed=3))
    assert float(time.mean()) == pytest.approx(exact, rel=0.03)
    assert float((time / exact).std()) < 0.25


def test_the_error_of_the_mean_is_the_spread_of_means():
    x = ar1(0.8, 500, 4, 1000, seed=4)
    error = torch_ebm.mcse_mean(x)
    scaled = x.mean((0, 1)) / error
    check_mean(scaled, 0, what="means in units of their error")
    assert float(scaled.std()) == pytest.approx(1, rel=0.08)


def naive_autocorrelation(x):
    """Of one quantity, (n_draws, n_chains), by the definitions."""
    n = len(x)
    centred = x - x.mean(0)
    covariance = torch.stack([(centred[: n - t] * centred[t:]).sum(0) / n for t in range(n)]).mean(
        1
    )
    within = x.var(0).mean()
    between = x.mean(0).var() if x.shape[1] > 1 else 0
    rho = 1 - (within - covariance) / (covariance[0] + between)
    rho[0] = 1
    return rho


@pytest.mark.parametrize("size", [(30, 4, 3, 2), (31, 1, 5), (7, 2, 2), (4, 3)])
def test_autocorrelation_by_its_definition(size):
    x = ar1(0.7, *size) + 0.3 * torch.arange(size[1]).view(1, -1, *[1] * (len(size) - 2))
    found = torch_ebm.autocorrelation(x)
    assert found.shape == (size[0], *size[2:])
    columns = zip(x.reshape(*size[:2], -1).unbind(-1), found.reshape(size[0], -1).unbind(-1))
    for draws, column in columns:
        torch.testing.assert_close(column, naive_autocorrelation(draws), rtol=1e-12, atol=1e-13)


def test_the_autocorrelation_of_ar1_falls_geometrically():
    mean = torch_ebm.autocorrelation(ar1(0.8, 5000, 4, 200, seed=5)).mean(1)[:15]
    torch.testing.assert_close(mean, 0.8 ** torch.arange(15.0).double(), rtol=0, atol=0.01)


# --- Invariances and special cases --------------------------------------------------------------------


def test_ranks_know_no_scale_and_effective_sizes_no_unit():
    x = ar1(0.6, 100, 4, 5)
    torch.testing.assert_close(torch_ebm.ess_bulk(x.exp()), torch_ebm.ess_bulk(x))
    for name in ("r_hat", "ess_tail", "ess_mean", "autocorrelation_time"):
        function = getattr(torch_ebm, name)
        torch.testing.assert_close(function(-x / 2**20), function(x))


def test_batches_of_quantities_change_nothing():
    x = normal(500, 20, 120)  # 1.2 million numbers: in two batches
    for name in ("r_hat", "autocorrelation"):
        function = getattr(torch_ebm, name)
        torch.testing.assert_close(function(x)[..., -3:], function(x[..., -3:].clone()))


def test_the_order_of_chains_changes_nothing():
    x = ar1(0.5, 100, 6, 3)
    for name in ALL:
        function = getattr(torch_ebm, name)
        torch.testing.assert_close(function(x.flip(1)), function(x))


def test_what_never_changes():
    x = torch.full((10, 3, 2), 0.1)
    x[:, :, 1] = normal(10, 3)
    assert torch_ebm.r_hat(x)[0].isnan() and torch_ebm.autocorrelation(x)[:, 0].isnan().all()
    for name in ("ess_bulk", "ess_tail", "ess_mean"):
        assert float(getattr(torch_ebm, name)(x)[0]) == 30
    assert float(torch_ebm.mcse_mean(x)[0]) == 0
    assert float(torch_ebm.autocorrelation_time(x)[0]) == 1
    for name in ALL:
        assert not getattr(torch_ebm, name)(x)[..., 1].isnan().any()


def test_chains_stuck_at_different_values_have_infinite_r_hat():
    x = torch.tensor([0.1, 0.3, 0.7, 0.9]).repeat(20, 1)
    assert float(torch_ebm.r_hat(x)) == math.inf
    assert float(torch_ebm.ess_bulk(x)) < 8


def test_a_variance_out_of_range_gives_no_number():
    for name in ("ess_mean", "autocorrelation_time"):
        for n_draws in (4, 20):
            assert getattr(torch_ebm, name)(1e200 * normal(n_draws, 2)).isnan()


X = torch.zeros(9, 3, 2)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "x, error, text",
    [
        (X.long(), TypeError, "x must have a floating dtype, got Long"),
        (X[:, 0, 0], ValueError, "x must have shape (n_draws, n_chains, ...), got (9,)"),
        (X[:3], ValueError, "n_draws must be at least 4, got 3"),
        (X[:, :0], ValueError, "x must hold at least one chain of at least one unit"),
        (X[:, :, :0], ValueError, "x must hold at least one chain of at least one unit"),
        (X.log() - X.log(), ValueError, "x must be finite, got 54 NaN"),
        (X.log(), ValueError, "x must be finite, got 0 NaN and 54 infinite"),
    ],
)
def test_refused(name, x, error, text):
    with pytest.raises(error, match=re.escape(f"{name}: {text}")):
        getattr(torch_ebm, name)(x)


# --- Round trips --------------------------------------------------------------------------------------


def trace(*replicas):
    """(n_sweeps, R, 1) from the rungs of each replica."""
    return torch.tensor(replicas).t()[..., None]


@pytest.mark.parametrize(
    "rungs, expected",
    [
        (trace([0, 1, 2, 1, 0], [1, 2, 1, 0, 1], [2, 0, 0, 2, 2]), 1),
        (trace([2, 1, 0, 1, 1], [1, 2, 1, 2, 0], [0, 0, 2, 0, 2]), 1),
        (trace([0, 1, 0, 1, 0], [1, 0, 1, 0, 1]), 3),  # 2 of the first, 1 of the second
        (trace([0, 1, 0, 1, 0], [1, 2, 1, 2, 1], [2, 0, 2, 0, 2]), 1),
        (trace([0], [1]), 0),
    ],
)
def test_round_trips_counted_by_hand(rungs, expected):
    assert torch_ebm.round_trips(rungs).tolist() == [expected]


def naive_round_trips(rungs, top):
    trips, bound = 0, None
    for rung in rungs:
        if rung == 0:
            trips += bound == "down"
            bound = "up"
        elif rung == top and bound == "up":
            bound = "down"
    return trips


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_round_trips_of_random_walks(dtype):
    rungs = torch.rand(300, 4, 5, generator=seeded(6)).argsort(1)
    expected = [
        sum(naive_round_trips(rungs[:, r, n].tolist(), 3) for r in range(4)) for n in range(5)
    ]
    found = torch_ebm.round_trips(rungs.to(dtype))
    assert found.dtype == torch.int64 and found.tolist() == expected and min(expected) > 5


@pytest.mark.parametrize(
    "rungs, error, text",
    [
        (torch.zeros(3, 2, 1), TypeError, "replica_trace must have an integer dtype, got Float"),
        (torch.zeros(3, 2, 1).bool(), TypeError, "must have an integer dtype, got Bool"),
        (torch.zeros(3, 2).long(), ValueError, "replica_trace must have shape (n_sweeps, R, N)"),
        (torch.zeros(0, 2, 1).long(), ValueError, "n_sweeps must be at least 1, got 0"),
        (
            torch.zeros(3, 1, 1).long(),
            ValueError,
            "the number of rungs R must be at least 2, got 1",
        ),
        (torch.zeros(3, 2, 0).long(), ValueError, "the number of chains N must be at least 1"),
        (trace([0, 1], [1, 1]), ValueError, "must have one replica at each of the rungs 0 to 1"),
        (trace([0, 2], [1, 1]), ValueError, "must have one replica at each of the rungs 0 to 1"),
        (trace([0, 0], [1, -1]), ValueError, "must have one replica at each of the rungs 0 to 1"),
    ],
)
def test_traces_refused(rungs, error, text):
    with pytest.raises(error, match=re.escape(text)):
        torch_ebm.round_trips(rungs)


# --- The summary --------------------------------------------------------------------------------------


def test_the_summary_holds_what_its_functions_say():
    x = ar1(0.5, 100, 4, 3, 5) + 3
    found = torch_ebm.summary(x)
    for name, values in {
        "mean": x.mean((0, 1)),
        "sd": x.flatten(0, 1).std(0),
        "mcse": torch_ebm.mcse_mean(x),
        "ess_bulk": torch_ebm.ess_bulk(x),
        "ess_tail": torch_ebm.ess_tail(x),
        "r_hat": torch_ebm.r_hat(x),
    }.items():
        torch.testing.assert_close(getattr(found, name), values)
    assert (found.n_draws, found.n_chains) == (100, 4)
    lines = str(found).splitlines()
    assert lines[0].split() == ["mean", "sd", "mcse", "ess_bulk", "ess_tail", "r_hat"]
    assert len(lines) == 1 + 10 + 3 and lines[11] == "... 5 more coordinates"
    assert lines[6].split()[:2] == ["1,", "0"]
    assert lines[6].split()[2] == f"{found.mean[1, 0]:.4g}"
    worst = [
        f"{found.ess_bulk.min():.0f}",
        f"{found.ess_tail.min():.0f}",
        f"{found.r_hat.max():.3f}",
    ]
    assert lines[12].split() == ["worst", *worst]
    assert lines[13] == f"100 draws, 4 chains. {found.verdict}"


def still(x):
    return torch.cat([x, torch.full_like(x, 0.1)], 2)


@pytest.mark.parametrize(
    "x, converged, verdict",
    [
        (normal(400, 4), True, "The chains agree: r_hat < 1.01 and ess_bulk > 400."),
        (
            still(normal(400, 4, 2)),
            True,
            "The chains agree: r_hat < 1.01 and ess_bulk > 400. 2 of 4 coordinates never changed.",
        ),
        (
            normal(400, 4, 2) + torch.tensor([0, 0, 0, 3.0])[:, None],
            False,
            r"Not converged: r_hat reaches 1\.\d{3}, not < 1.01, and ess_bulk falls to \d+, not > 400.",
        ),
        (ar1(0.5, 420, 4), False, r"Not converged: r_hat reaches 1\.\d{3}, not < 1.01."),
        (normal(95, 4), False, r"Not converged: ess_bulk falls to 3\d\d, not > 400."),
        (normal(999, 1), False, "One chain cannot be compared with others: run at least two."),
        (
            # A fixed total under single-site moves: stuck, at other values in other chains.
            torch.cat([normal(400, 4, 1), torch.eye(4)[None].repeat(400, 1, 1)[:, :, :2]], 2),
            False,
            "Not converged: r_hat reaches inf, .* 2 of 3 coordinates never changed.",
        ),
        (
            torch.cat([normal(400, 3, 1), torch.zeros(400, 1, 1)], 1),
            False,
            r"Not converged: r_hat reaches .* 1 of 4 chains never moved.",
        ),
        (torch.ones(9, 3, 2), False, "No coordinate ever changed: the chains give no information."),
    ],
)
def test_the_verdict(x, converged, verdict):
    found = torch_ebm.summary(x)
    assert found.converged == converged
    assert re.fullmatch(verdict, found.verdict)
    assert str(found).endswith(found.verdict)


def test_what_a_summary_takes():
    class Samples:
        trajectory = normal(50, 4, 2).requires_grad_()

    found = torch_ebm.summary(Samples())
    assert torch.equal(found.r_hat, torch_ebm.r_hat(Samples.trajectory))
    assert not found.mean.requires_grad
    Samples.trajectory = torch.zeros(0, 4, 2)
    with pytest.raises(ValueError, match="summary: the trajectory is empty; sample with thin=1"):
        torch_ebm.summary(Samples())
    with pytest.raises(TypeError, match="summary: samples must be a tensor or have a trajectory"):
        torch_ebm.summary([1.0])
