"""Pictures: what is drawn, not how it looks."""

import subprocess
import sys

import pytest
import torch
import torch_ebm
from torch_ebm import plots

matplotlib = pytest.importorskip("matplotlib")


def picture(figure):
    """The pixels of a figure's first image, (h, w, 3)."""
    return torch.as_tensor(figure.axes[0].images[0].get_array().copy())


def estimate(n=50):
    generator = torch.Generator().manual_seed(0)
    weights = 0.3 * torch.randn(n, dtype=torch.float64, generator=generator)
    return torch_ebm.log_z_from_weights(weights, torch.tensor(20.0, dtype=torch.float64))


def sandwiches(exact_samples=True):
    """Of a model of independent units, at two budgets."""
    rbm = torch_ebm.RBM(6, 3, dtype=torch.float64)
    torch.nn.init.ones_(rbm.weight)
    runs = (
        torch_ebm.sandwich(rbm, n_chains=20, betas=n, generator=torch.Generator().manual_seed(n))
        for n in (40, 10)
    )
    # Arms of different lengths.
    return [
        run._replace(
            forward=run.forward._replace(upper=run.forward.upper + 0.5),
            exact_samples=exact_samples,
        )
        for run in runs
    ]


def test_every_picture_can_be_saved_and_opens_no_window(tmp_path):
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    figures = [
        plots.filters(torch.randn(12, 5), (3, 4)),
        plots.images(torch.rand(7, 12), (3, 4), title="samples"),
        plots.training_curve([0, 1, 2], [-3.0, -2.0, -1.5], [-3.1, -2.2, -1.8], baseline=-3.0),
        plots.training_curve([0], [-3.0]),
        plots.ais_weights(estimate(), exact=20.05),
        plots.ais_weights(estimate()),
        plots.sandwich([40, 10], sandwiches(), exact=9.0),
        plots.stage_ess(sandwiches()[0].forward, title="path"),
        plots.plot_trace(torch.randn(30, 2, 3, 2), title="chains"),
        plots.plot_trace(torch.randn(30, 12)),
    ]
    for i, figure in enumerate(figures):
        assert isinstance(figure, matplotlib.figure.Figure)
        path = tmp_path / f"{i}.png"
        figure.savefig(path)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert matplotlib.pyplot.get_fignums() == before


def test_images_are_drawn_row_by_row_dark_for_one():
    first = torch.tensor([1.0, 0, 0, 0])
    last = torch.tensor([0.0, 0, 0, 1])
    drawn = picture(plots.images(torch.stack([first, last]), (2, 2), n_columns=2))
    assert drawn.shape == (2, 5, 3)  # a gap of one pixel
    dark = drawn.sum(2) == 0
    expected = torch.zeros(2, 5, dtype=torch.bool)
    expected[0, 0] = expected[1, 4] = True
    assert torch.equal(dark, expected)


def test_unknown_pixels_have_a_colour_of_their_own():
    drawn = picture(plots.images(torch.tensor([[torch.nan, 0.0, 1.0, 0.5]]), (2, 2)))
    assert drawn[0, 0].max() - drawn[0, 0].min() > 0.1  # not grey
    for row, column in [(0, 1), (1, 0), (1, 1)]:
        assert drawn[row, column].max() - drawn[row, column].min() < 0.02


def test_filters_are_the_columns_on_one_scale_around_zero():
    weight = torch.tensor([[2.0, 0.0], [-2.0, 1.0]])
    drawn = picture(plots.filters(weight, (1, 2), n_columns=1))
    red, blue = drawn[0, 0], drawn[0, 1]
    assert red[0] > red[2] and blue[2] > blue[0]
    white = drawn[2, 0]
    assert white.min() > 0.9
    assert 0 < drawn[2, 1][0] - drawn[2, 1][2] and not torch.equal(drawn[2, 1], red)


def test_filters_of_zeros():
    assert picture(plots.filters(torch.zeros(4, 3), (2, 2))).min() > 0.9


def test_ais_weights_are_centred_on_the_estimate():
    found = estimate()
    axes = plots.ais_weights(found, exact=20.1).axes[0]
    lines = sorted(line.get_xdata()[0] for line in axes.lines)
    assert lines == pytest.approx(sorted([float(found.log_z), 20.1]))
    assert sum(bar.get_height() for bar in axes.patches[:-1]) == 50
    # Every weight is drawn where it is: log weight + log Z of the base.
    lowest = min(bar.get_x() for bar in axes.containers[0])
    assert lowest == pytest.approx(float(found.log_weights.min()) + 20, abs=1e-9)


def test_a_sandwich_shows_three_estimates_with_their_intervals_by_budget():
    found = sandwiches()
    axes = plots.sandwich([40, 10], found, exact=9.5).axes[0]
    assert axes.get_xscale() == "log"
    assert axes.lines[-1].get_ydata()[0] == 9.5
    for drawn, name in zip(axes.containers, ("reverse", "bridge", "forward")):
        line, _, (bars,) = drawn
        by_budget = [getattr(s, name) for s in reversed(found)]
        assert list(line.get_xdata()) == pytest.approx([10, 40], rel=0.05)
        assert list(line.get_ydata()) == [float(e.log_z) for e in by_budget]
        ends = [tuple(segment[:, 1]) for segment in bars.get_segments()]
        expected = [(float(e.lower), float(e.upper)) for e in by_budget]
        for one, other in zip(ends, expected):
            assert one == pytest.approx(other, abs=1e-12)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "reverse AIS, upper bound" in labels and "exact 9.500" in labels
    inexact = plots.sandwich([40, 10], sandwiches(exact_samples=False)).axes[0].get_legend()
    assert "reverse AIS, upper bound if the chains have mixed" in [
        text.get_text() for text in inexact.get_texts()
    ]


def test_the_ess_is_drawn_along_the_path():
    found = sandwiches()[0].forward
    axes = plots.stage_ess(found).axes[0]
    (path,) = axes.lines
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] <= 1
    assert torch.equal(torch.as_tensor(path.get_xdata()), found.betas[1:])
    assert torch.equal(torch.as_tensor(path.get_ydata()), found.stage_ess)


def test_a_trace_shows_draws_and_their_autocorrelation():
    x = torch.randn(40, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = plots.plot_trace(x, [3, 0], max_lag=7).axes
    assert len(axes) == 4
    for row, (i, j) in enumerate([(1, 1), (0, 0)]):
        for chain, line in enumerate(axes[2 * row].lines):
            assert torch.equal(torch.as_tensor(line.get_ydata()), x[:, chain, i, j])
        tops = [segment[1][1] for segment in axes[2 * row + 1].collections[0].get_segments()]
        assert tops == pytest.approx(torch_ebm.autocorrelation(x)[:8, i, j].tolist())
        agreement = float(torch_ebm.r_hat(x)[i, j])
        assert axes[2 * row].get_title(loc="right") == f"r_hat {agreement:.3f}"


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: plots.images(torch.rand(3, 5), (2, 2)), r"\(N, 4\)"),
        (lambda: plots.images(torch.rand(0, 4), (2, 2)), r"\(0, 4\)"),
        (lambda: plots.images(torch.rand(3, 4), (2, 2), n_columns=0), "n_columns"),
        (
            lambda: plots.images(torch.rand(3, 4), (2, 2), n_columns=2, column_labels=["a"]),
            "2 texts, got 1",
        ),
        (lambda: plots.filters(torch.rand(3, 4), (2, 2)), r"\(4, 3\)"),
        (lambda: plots.training_curve([0, 1], [-1.0]), "train must hold one value"),
        (lambda: plots.training_curve([], []), "train must hold one value"),
        (lambda: plots.sandwich([], []), "one positive number for each of the 0 sandwiches"),
        (lambda: plots.sandwich([10], sandwiches()), r"each of the 2 sandwiches, got \[10\]"),
        (lambda: plots.sandwich([0, 10], sandwiches()), "positive number"),
        (lambda: plots.stage_ess(estimate()), "must have betas and stage_ess"),
        (lambda: plots.plot_trace(torch.zeros(9)), r"\(n_draws, n_chains, ...\), got \(9,\)"),
        (lambda: plots.plot_trace(torch.zeros(9, 2, 3), [3]), r"from 0 to 2, got \[3\]"),
        (lambda: plots.plot_trace(torch.zeros(9, 2, 3), []), r"from 0 to 2, got \[\]"),
        (lambda: plots.plot_trace(torch.zeros(9, 2), max_lag=0), "max_lag must be at least 1"),
        (lambda: plots.plot_trace(torch.zeros(3, 2)), "n_draws must be at least 4, got 3"),
    ],
)
def test_what_cannot_be_drawn(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_without_matplotlib_the_library_works_and_plots_say_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
import torch, torch_ebm
try:
    torch_ebm.plots.filters(torch.zeros(4, 2), (2, 2))
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch_ebm[plots]" in run.stdout


@pytest.mark.parametrize("flat", [True, False])
def test_images_in_colour_are_drawn_as_they_are(flat):
    x = torch.rand(3, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[1, :, 0, 0] = torch.nan
    shown = x.flatten(1) if flat else x
    drawn = picture(plots.images(shown, (3, 2, 4), n_columns=1)).double()
    torch.testing.assert_close(drawn[:2, :4], x[0].permute(1, 2, 0))
    torch.testing.assert_close(drawn[6:8, :4], x[2].permute(1, 2, 0))
    assert (drawn[2] == 1).all()  # a gap
    assert drawn[3, 0].max() - drawn[3, 0].min() > 0.1  # unknown
    with pytest.raises(ValueError, match=r"shape \(N, 3, height, width\)"):
        plots.images(x, (4, 2, 3))
