"""Which criterion learns the best RBM?

A comparison like that of Marlin, Swersky, Chen & de Freitas (2010): the same model, the same data
and optimiser, judged by the exact log-likelihood of held-out data.

The model is small enough (12 hidden units) for an exact log Z. Every criterion gets the same number
of updates and the same candidate learning rates. The rate is chosen by two runs, and the time to
stop in each run, both by the exact likelihood of validation data. Runs with other seeds then give
the likelihood of the test data, which the table shows.

    bash examples/criteria_on_digits/run.sh
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

import torch_ebm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "digits"))
from data import load  # noqa: E402

N_HIDDEN = 12
BATCH = 100
N_UPDATES = 2000
CHECK_EVERY = 50
LEARNING_RATES = (3e-3, 1e-2, 3e-2, 1e-1)
VALIDATION_SEED, N_VALIDATION = 1000, 2  # of the runs by which the rate is chosen
N_NOISE = 10  # noise samples per example of the contrastive criteria

#: The loss of a batch: (model, examples) -> one number.
Loss = Callable[[torch_ebm.RBM, Tensor], Tensor]


class Data(NamedTuple):
    train: Tensor
    validation: Tensor
    test: Tensor


class Outcome(NamedTuple):
    validation: float
    test: float
    seconds: float


def digits() -> Data:
    images = load("digits")
    n_validation = len(images.test)
    return Data(images.train[n_validation:], images.train[:n_validation], images.test)


def sampled(negative_phase: torch_ebm.NegativePhase) -> Loss:
    def loss(model: torch_ebm.RBM, x: Tensor) -> Tensor:
        negative = negative_phase(model, x)
        return torch_ebm.maximum_likelihood(model, x, negative_samples=negative)

    return loss


class BaseRate:
    """Independent units with the frequencies of the data, as a noise distribution."""

    def __init__(self, data: Tensor) -> None:
        law = torch.distributions.Bernoulli(logits=torch_ebm.base_rate_bias(data))
        self.law = torch.distributions.Independent(law, 1)

    def sample(self, shape: torch.Size) -> Tensor:
        return self.law.sample(shape)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.law.log_prob(x)


def criteria(data: Data) -> dict[str, Callable[[int], Loss]]:
    """The loss of each criterion, as a function of the seed."""
    shape = data.train.shape[1:]
    noise = BaseRate(data.train)
    plain = lambda loss: lambda seed: loss  # noqa: E731
    return {
        "maximum likelihood, exact": plain(
            lambda m, x: torch_ebm.maximum_likelihood(m, x, log_z=m.log_z())
        ),
        "PCD": lambda seed: sampled(torch_ebm.PCD(BATCH, shape, seed=seed)),
        "CD-1": lambda seed: sampled(torch_ebm.CD(seed=seed)),
        "pseudolikelihood": plain(torch_ebm.pseudolikelihood),
        "ratio matching": plain(torch_ebm.ratio_matching),
        "minimum probability flow": plain(torch_ebm.minimum_probability_flow),
        "ranking NCE, noise of base rates": plain(
            functools.partial(torch_ebm.ranking_nce, noise=noise, n_noise=N_NOISE)
        ),
    }


@torch.no_grad()
def log_likelihood(model: torch_ebm.RBM, x: Tensor) -> float:
    return (-model(x).double().mean() - model.log_z()).item()


def train(loss: Loss, data: Data, rate: float, seed: int) -> Outcome:
    """Trains, and keeps the model that is best on the validation data."""
    torch.manual_seed(seed)
    model = torch_ebm.RBM(data.train.shape[1], N_HIDDEN)
    with torch.no_grad():
        model.visible_bias.copy_(torch_ebm.base_rate_bias(data.train))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, N_UPDATES)
    best, best_model, seconds = float("-inf"), copy.deepcopy(model), 0.0
    for update in range(N_UPDATES):
        start = time.process_time()
        x = data.train[torch.randint(len(data.train), (BATCH,))]
        optimizer.zero_grad()
        loss(model, x).backward()
        optimizer.step()
        falling.step()
        seconds += time.process_time() - start
        if update % CHECK_EVERY == CHECK_EVERY - 1:
            value = log_likelihood(model, data.validation)
            if value > best:
                best, best_model = value, copy.deepcopy(model)
    return Outcome(best, log_likelihood(best_model, data.test), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs at the chosen rate (5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = digits()
    every = criteria(data)
    bar = tqdm(total=len(every) * (len(LEARNING_RATES) * N_VALIDATION + options.seeds), unit="run")

    def run(name: str, rate: float, seed: int) -> Outcome:
        bar.set_description(name)
        outcome = train(every[name](seed), data, rate, seed)
        bar.update()
        return outcome

    def validation(name: str, rate: float) -> float:
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + N_VALIDATION)
        return statistics.mean(run(name, rate, seed).validation for seed in seeds)

    print(f"scikit-learn's digits, {len(data.train)} to train on; RBM 64x{N_HIDDEN}, ", end="")
    print(f"{N_UPDATES} updates of {BATCH} examples; nats per image, {options.seeds} seeds\n")
    print("| criterion | rate | test log-likelihood | sd over seeds | ms per update |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in every:
        rate = max(LEARNING_RATES, key=functools.partial(validation, name))
        outcomes = [run(name, rate, seed) for seed in range(options.seeds)]
        tests = [o.test for o in outcomes]
        spread = statistics.stdev(tests) if len(tests) > 1 else float("nan")
        cost = 1e3 * statistics.median(o.seconds for o in outcomes) / N_UPDATES
        print(
            f"| {name} | {rate:g} | {statistics.mean(tests):.2f} | {spread:.2f} | {cost:.2f} |",
            flush=True,
        )
    bar.close()


if __name__ == "__main__":
    main()
