"""Consistency of the criteria: the error of the fit, against the number of examples.

A criterion is consistent if its minimum tends to the truth. Its squared error then falls as 1 / T,
a line of slope -1 in the plot, whose height is the price of not knowing Z (figures of this kind:
Gutmann & Hyvärinen 2012, Hyvärinen 2007). Four models with known log Z are fitted, by LBFGS on all
data, to samples of themselves.

    bash examples/consistency/run.sh
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import torch_ebm
from problems import PROBLEMS, Problem

SIZES = [round(10 ** (k / 2)) for k in range(4, 10)]
N_NOISE = 5

#: The function to minimise, of the model and of log Z, if that is learned.
Loss = Callable[[torch.nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Criterion:
    """`prepare(problem, x)` draws what noise is needed and returns the loss."""

    prepare: Callable[[Problem, Tensor], Loss]
    binary: bool = True
    real: bool = True


def maximum_likelihood(problem: Problem, x: Tensor) -> Loss:
    return lambda model, _: torch_ebm.maximum_likelihood(model, x, log_z=model.log_z())


def nce(problem: Problem, x: Tensor) -> Loss:
    noise = torch_ebm.draw_noise(problem.noise(x), x, N_NOISE)
    return lambda model, log_z: torch_ebm.nce(model, x, noise, log_z=log_z)


def ranking_nce(problem: Problem, x: Tensor) -> Loss:
    noise = torch_ebm.draw_noise(problem.noise(x), x, N_NOISE)
    return lambda model, _: torch_ebm.ranking_nce(model, x, noise)


def conditional_nce(problem: Problem, x: Tensor) -> Loss:
    """Noise is the data with a unit flipped, or with normal numbers added."""
    if problem.binary:
        units = torch.randint(x.shape[1], (len(x), N_NOISE))
        flips = torch.nn.functional.one_hot(units, x.shape[1]).to(x)
        noise = (x.unsqueeze(1) - flips).abs()
    else:
        noise = x.unsqueeze(1) + x.std() * torch.randn(len(x), N_NOISE, x.shape[1])
    return lambda model, _: torch_ebm.conditional_nce(model, x, noise=noise)


def sliced_score_matching(problem: Problem, x: Tensor) -> Loss:
    """The same projections at every call."""
    seed = int(torch.randint(2**31, ()))
    return lambda model, _: torch_ebm.sliced_score_matching(
        model, x, generator=torch.Generator().manual_seed(seed)
    )


def of_the_data(criterion: Callable[..., Tensor]) -> Callable[[Problem, Tensor], Loss]:
    """A criterion that needs only the energy and the data."""
    return lambda problem, x: lambda model, _: criterion(model, x)


CRITERIA = {
    "maximum likelihood": Criterion(maximum_likelihood),
    "NCE": Criterion(nce),
    "ranking NCE": Criterion(ranking_nce),
    "conditional NCE": Criterion(conditional_nce),
    "pseudolikelihood": Criterion(of_the_data(torch_ebm.pseudolikelihood), real=False),
    "ratio matching": Criterion(of_the_data(torch_ebm.ratio_matching), real=False),
    "probability flow": Criterion(of_the_data(torch_ebm.minimum_probability_flow), real=False),
    "score matching": Criterion(of_the_data(torch_ebm.score_matching), binary=False),
    "sliced score matching": Criterion(sliced_score_matching, binary=False),
}


def pairs() -> list[tuple[str, str]]:
    """Every problem with every criterion that applies to it."""
    return [
        (problem, name)
        for problem, law in PROBLEMS.items()
        for name, criterion in CRITERIA.items()
        if (criterion.binary if law.binary else criterion.real)
    ]


def minimise(model: torch.nn.Module, loss: Loss) -> None:
    log_z = model.log_z().detach().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [*model.parameters(), log_z],
        max_iter=60,
        tolerance_grad=1e-5,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model, log_z)
        value.backward()
        return value

    optimizer.step(closure)


def fit_error(replicate: int, size: int, pair: tuple[str, str]) -> float:
    """The error of one fit. All criteria see the same data."""
    torch.set_num_threads(1)
    problem, criterion = PROBLEMS[pair[0]], CRITERIA[pair[1]]
    torch.manual_seed(1000 * replicate + size)
    x, model = problem.sample(size), problem.start()
    minimise(model, criterion.prepare(problem, x))
    with torch.no_grad():
        return problem.error(model).item()


def median_errors(executor: ProcessPoolExecutor, n_replicates: int) -> dict[tuple, list[float]]:
    """The median error over the replicates, for every pair at every size."""
    tasks = [(r, size, pair) for pair in pairs() for size in SIZES for r in range(n_replicates)]
    found = list(executor.map(fit_error, *zip(*tasks), chunksize=n_replicates))
    medians = [
        statistics.median(found[i : i + n_replicates]) for i in range(0, len(found), n_replicates)
    ]
    n = len(SIZES)
    return {pair: medians[i * n : (i + 1) * n] for i, pair in enumerate(pairs())}


def slope(errors: list[float]) -> float:
    """Of log error on log T, by least squares."""
    logs = [[math.log(v) for v in values] for values in (SIZES, errors)]
    return statistics.linear_regression(*logs).slope


def report(errors: dict[tuple, list[float]]) -> None:
    last = SIZES[-1]
    print(f"{'':20}{'':24}{'slope':>8}{'T x error':>12}{'to likelihood':>16}   at T = {last}")
    for (problem, criterion), values in errors.items():
        ratio = values[-1] / errors[problem, "maximum likelihood"][-1]
        line = f"{slope(values):8.2f}{last * values[-1]:12.2f}{ratio:16.2f}"
        print(f"{problem:20}{criterion:24}{line}")


def plot(errors: dict[tuple, list[float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(PROBLEMS), figsize=(4.2 * len(PROBLEMS), 4))
    for axis, (name, problem) in zip(axes, PROBLEMS.items()):
        for i, criterion in enumerate(CRITERIA):
            if (name, criterion) in errors:
                axis.loglog(
                    SIZES, errors[name, criterion], "o-", ms=3, color=f"C{i}", label=criterion
                )
        first = errors[name, "maximum likelihood"][0]
        axis.loglog(SIZES, [first * SIZES[0] / t for t in SIZES], "k:", lw=1, label="1 / T")
        axis.set(title=name, xlabel="examples T", ylabel=problem.what)
        axis.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/consistency"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        errors = median_errors(executor, arguments.replicates)
    report(errors)
    plot(errors, arguments.out / "consistency.png")
    print(f"wrote {arguments.out / 'consistency.png'}")


if __name__ == "__main__":
    main()
