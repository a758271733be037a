"""Makes the pictures of README.md, in docs/images, with the examples' own models and plots.

    bash examples/digits/run.sh && .venv/bin/python docs/pictures.py

The first command installs what the second needs. Takes two minutes on one core.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch_ebm import plots

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path[:0] = [str(ROOT / "examples" / d) for d in ("digits", "sandwich", "live_log_likelihood")]

import live_log_likelihood  # noqa: E402
import report  # noqa: E402
import sandwich  # noqa: E402
import train  # noqa: E402
from data import load  # noqa: E402
from training import Trainer  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(name: str, figure: Figure, width: float, height: float) -> None:
    """Writes a figure of this size in inches: small, so that the text is large on the page."""
    path = IMAGES / f"{name}.png"
    figure.set_size_inches(width, height)
    figure.savefig(path, dpi=200)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def digits() -> None:
    arguments = train.parser().parse_args([])
    data = load(arguments.data)
    trainer = Trainer(train.settings_for(arguments, data), data)
    with tempfile.TemporaryDirectory() as folder:
        epochs = trainer.settings.epochs
        train.run_training(trainer, Path(folder) / "checkpoint.pt", evaluations=1, save_every=epochs)
    rbm, shape = trainer.rbm, data.image_shape
    drawn = report.samples(rbm, 32, arguments.chain_steps, seed=0)
    samples = plots.images(drawn, shape, n_columns=8, title="Samples, from noise")
    filters = plots.filters(rbm.weight, shape, n_columns=4, title="Filters")
    save("samples", samples, 5.2, 2.9)
    save("filters", filters, 3.3, 2.9)


def bounds() -> None:
    rbm, effort = sandwich.random_rbm(), sandwich.FULL
    found = sandwich.bounds(rbm, effort)
    figure = plots.sandwich(effort.budgets, found, exact=rbm.log_z(), title="Two bounds on log Z")
    save("sandwich", figure, 4.2, 3.1)


def training() -> None:
    options = live_log_likelihood.parse([])
    run = live_log_likelihood.train_model(0, options, *live_log_likelihood.digits())
    save("live_log_likelihood", live_log_likelihood.picture(run), 4.2, 3.1)


def main() -> None:
    torch.set_num_threads(1)
    IMAGES.mkdir(exist_ok=True)
    digits()
    bounds()
    training()


if __name__ == "__main__":
    main()
