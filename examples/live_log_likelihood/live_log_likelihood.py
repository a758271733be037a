"""The log-likelihood of a model during training, from the chains that train it.

Persistent contrastive divergence reports no loss: its gradient needs samples, but the likelihood
needs log Z. Here a restricted Boltzmann machine learns 8x8 digits with tempered chains, and
LogZTracker follows log Z from step to step. The hidden layer is small, so log Z is known exactly
and the tracked value can be compared with it. Prints the error, how often the interval contains the
exact value, and the cost of tracking, and plots both log-likelihoods.

    bash examples/live_log_likelihood/run.sh
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import torch_ebm
import torch_ebm.plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = 64
N_TRAIN = 1400
BATCH = 100


class Point(NamedTuple):
    """Results after some updates."""

    update: int
    train: float
    """Mean log-probability of the training data, with the tracked log Z."""
    test: float
    error: float
    """Tracked log Z - exact log Z."""
    std_error: float
    covered: bool


class Run(NamedTuple):
    points: list[Point]
    tracking: list[float]
    """Time of each update of the tracker over that of the training step."""


def parse(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden", type=int, default=16, help="up to 25 (default: 16)")
    parser.add_argument("--chains", type=int, default=100, help="ladders (default: 100)")
    parser.add_argument("--rungs", type=int, default=8, help="temperatures (default: 8)")
    parser.add_argument("--updates", type=int, default=2000, help="of the model (default: 2000)")
    parser.add_argument(
        "--learning-rate", type=float, default=0.1, help="falls to 0 (default: 0.1)"
    )
    parser.add_argument(
        "--every", type=int, default=20, help="updates between points (default: 20)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs (default: 3)")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/live_log_likelihood"))
    return parser.parse_args(arguments)


def digits() -> tuple[Tensor, Tensor]:
    images = (torch.from_numpy(load_digits().data) >= 8).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return images[order[:N_TRAIN]], images[order[N_TRAIN:]]


def point(
    update: int, rbm: torch_ebm.RBM, tracker: torch_ebm.LogZTracker, train: Tensor, test: Tensor
) -> Point:
    estimate, exact = tracker.estimate(), rbm.log_z().item()
    log_z = estimate.log_z.item()
    return Point(
        update,
        -rbm(train).mean().item() - log_z,
        -rbm(test).mean().item() - log_z,
        log_z - exact,
        estimate.std_error.item(),
        estimate.lower.item() <= exact <= estimate.upper.item(),
    )


def train_model(seed: int, options: argparse.Namespace, train: Tensor, test: Tensor) -> Run:
    torch.manual_seed(seed)
    rbm = torch_ebm.RBM(PIXELS, options.hidden)
    with torch.no_grad():
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(train))
    betas = torch.linspace(1, 0, options.rungs, dtype=torch.float64)
    pcd = torch_ebm.TemperedPCD(options.chains, (PIXELS,), betas, seed=seed)
    tracker = torch_ebm.LogZTracker(rbm, pcd.chains, betas)
    log_z_base = (PIXELS + options.hidden) * math.log(2)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, options.updates)
    run = Run([], [])
    for update in range(1, options.updates + 1):
        begin = time.perf_counter()
        negative = pcd(rbm)
        sampled = time.perf_counter()
        tracker.update(rbm, pcd.chains, log_z_base)
        tracked = time.perf_counter()
        if update % options.every == 0:
            with torch.no_grad():
                run.points.append(point(update, rbm, tracker, train, test))
        resume = time.perf_counter()
        batch = train[torch.randint(len(train), (BATCH,))]
        loss = rbm(batch).mean() + torch_ebm.log_partition(rbm, negative)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        training = sampled - begin + time.perf_counter() - resume
        run.tracking.append((tracked - sampled) / training)
    return run


def report(seed: int, run: Run) -> None:
    points = run.points
    rmse = math.sqrt(statistics.fmean(p.error**2 for p in points))
    print(
        f"{seed:4d}  {statistics.fmean(p.error for p in points):+10.3f}  {rmse:9.3f}"
        f"  {statistics.fmean(p.std_error for p in points):9.3f}"
        f"  {statistics.fmean(p.covered for p in points):8.1%}"
        f"  {statistics.median(run.tracking):12.2f}"
        f"  {points[-1].train:10.2f}  {points[-1].test:9.2f}",
        flush=True,
    )


def picture(run: Run) -> Figure:
    """Both log-likelihoods with the tracked log Z, and dots for the first with the exact one."""
    epochs = [p.update * BATCH / N_TRAIN for p in run.points]
    figure = torch_ebm.plots.training_curve(
        epochs,
        [p.train for p in run.points],
        [p.test for p in run.points],
        title="Log-likelihood in training, by tracked log Z",
    )
    (axes,) = figure.axes
    exact = [p.train + p.error for p in run.points]
    label = "train, exact log Z"
    axes.plot(epochs[::4], exact[::4], "o", color="black", markersize=3, zorder=3, label=label)
    axes.legend(frameon=False, fontsize=9, loc="center right")
    return figure


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    train, test = digits()
    print("seed  mean error  rms error  std error   covered  tracking/step  train, end  test, end")
    for seed in range(options.seeds):
        run = train_model(seed, options, train, test)
        report(seed, run)
        if seed == 0:
            options.run_dir.mkdir(parents=True, exist_ok=True)
            picture(run).savefig(options.run_dir / "live_log_likelihood.png")


if __name__ == "__main__":
    main()
