"""Makes the pictures of README.md, with the examples' own models and plots.

    bash examples/digits/run.sh
    .venv/bin/python docs/pictures.py [--quick] [--out docs/images]

The first command installs what the second needs, which takes a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import torch
from torch_ebm import plots

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples" / d) for d in ("digits", "sandwich", "live_log_likelihood")]

import live_log_likelihood  # noqa: E402
import report  # noqa: E402
import sandwich  # noqa: E402
import train  # noqa: E402
from data import load  # noqa: E402
from training import Trainer  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Writes a figure, under its name, in this width and height in inches.
Save = Callable[[str, "Figure", float, float], None]


def digits(save: Save, quick: bool) -> None:
    arguments = train.parser().parse_args(["--epochs", "2"] if quick else [])
    data = load(arguments.data)
    trainer = Trainer(train.settings_for(arguments, data), data)
    epochs = trainer.settings.epochs
    with tempfile.TemporaryDirectory() as folder:
        train.run_training(trainer, Path(folder) / "checkpoint.pt", 1, save_every=epochs)
    rbm, shape = trainer.rbm, data.image_shape
    drawn = report.samples(rbm, 32, arguments.chain_steps, seed=0)
    samples = plots.images(drawn, shape, n_columns=8, title="Samples, from noise")
    filters = plots.filters(rbm.weight, shape, n_columns=4, title="Filters")
    save("samples", samples, 5.2, 2.9)
    save("filters", filters, 3.3, 2.9)


def bounds(save: Save, quick: bool) -> None:
    rbm, effort = sandwich.random_rbm(), sandwich.QUICK if quick else sandwich.FULL
    found = sandwich.bounds(rbm, effort)
    figure = plots.sandwich(effort.budgets, found, exact=rbm.log_z(), title="Two bounds on log Z")
    save("sandwich", figure, 4.2, 3.1)


def training(save: Save, quick: bool) -> None:
    options = live_log_likelihood.parse(["--updates", "40"] if quick else [])
    run = live_log_likelihood.train_model(0, options, *live_log_likelihood.digits())
    save("live_log_likelihood", live_log_likelihood.picture(run), 4.2, 3.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small version, in seconds")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()

    def save(name: str, figure: Figure, width: float, height: float) -> None:
        path = arguments.out / f"{name}.png"
        # Small, so that the text is large where two pictures share a row of the page.
        figure.set_size_inches(width, height)
        figure.savefig(path, dpi=200)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for draw in (digits, bounds, training):
        draw(save, arguments.quick)


if __name__ == "__main__":
    main()
