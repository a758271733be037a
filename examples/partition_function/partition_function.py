"""How well does annealed importance sampling estimate log Z? A repeat of an experiment of 2008.

Salakhutdinov & Murray (2008, "On the quantitative analysis of deep belief networks", section 4)
trained RBMs by CD-1, CD-3 and CD-25 on images of digits. For models with few hidden units log Z is
exact, and AIS is compared with it. For those with 500, only AIS gives log-probabilities of the
images. Here the images are 5000 from MNIST, of which 4000 are for training.

    bash examples/partition_function/run.sh
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
import torch_ebm

import pictures
import tables
from estimates import MOST_EXACT, LogProbability, convergence, measure, temperatures
from from_digits import DataError, Digits, independent_pixels, load
from models import Recipe, trained

CD_STEPS = (1, 3, 25)
N_CHAINS = 100  # for the runs with growing numbers of temperatures
SEED = 1


@dataclass(frozen=True)
class Experiment:
    data: str
    learning_rate: float
    epochs: dict[int, int]
    """By the number of hidden units."""
    n_temperatures: int
    fewer_temperatures: tuple[int, ...]

    def recipes(self) -> list[Recipe]:
        return [
            Recipe(hidden, cd_steps, self.learning_rate, n)
            for hidden, n in self.epochs.items()
            for cd_steps in CD_STEPS
        ]


FULL = Experiment("mnist5k", 0.01, {20: 100, 500: 50}, 14_500, (100, 300, 1000, 3000))
QUICK = Experiment("digits", 0.1, {6: 20, 30: 20}, 1000, (100, 300))


def run(experiment: Experiment, arguments: argparse.Namespace) -> None:
    """Trains, estimates and writes; rows are printed as they are computed."""
    folder = arguments.out / experiment.data
    folder.mkdir(parents=True, exist_ok=True)
    digits = load(experiment.data)
    began = time.monotonic()
    models = {recipe.name: trained(recipe, digits, folder) for recipe in experiment.recipes()}
    small = {name: rbm for name, rbm in models.items() if rbm.n_hidden <= MOST_EXACT}
    print(f"{len(models)} models, trained or loaded, after {time.monotonic() - began:.0f} s\n")

    rows = []
    generator = torch.Generator().manual_seed(SEED)
    print(tables.heading(), flush=True)
    betas = temperatures(experiment.n_temperatures)
    for name, rbm in models.items():
        for n_chains in arguments.chains if name in small else arguments.large_chains:
            rows.append(measure(name, rbm, digits, betas, n_chains, generator))
            print(tables.line(rows[-1]), flush=True)
    independent = LogProbability(*independent_pixels(digits))
    notes = tables.notes(experiment.n_temperatures, digits, independent)
    print(notes)
    (folder / "table.md").write_text(
        "\n".join([tables.heading(), *map(tables.line, rows), notes, ""])
    )

    counts = [*experiment.fewer_temperatures, experiment.n_temperatures]
    errors = {
        name: convergence(rbm, digits, counts, N_CHAINS, generator) for name, rbm in small.items()
    }
    tables.write_numbers(folder / "results.json", rows, errors, independent)
    pictures.write(folder, digits, models, rows, errors)
    seconds = time.monotonic() - began
    print(f"\n{folder} holds the models, the table, its numbers and figures; {seconds:.0f} s")


def at_least(minimum: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        n = int(text)
        if n < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {n}")
        return n

    return number


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="small models of 8x8 digits, and few temperatures")
    add("--chains", type=at_least(2), nargs="+", default=[100, 1000], help="for the small models")
    add("--large-chains", type=at_least(2), nargs="+", default=[100], help="for the large ones")
    add("--threads", type=at_least(1), default=torch.get_num_threads())
    add("--out", type=Path, default=Path("runs/partition_function"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        run(QUICK if arguments.quick else FULL, arguments)
    except DataError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"\nStopped. The next run loads the models in {arguments.out}.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
