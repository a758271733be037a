"""Persistent contrastive divergence, CD-1 and naive MCMC, trained for the same time."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from typing import Callable

import torch
import torch_ebm
from tqdm import tqdm

from data import Digits
from training import Settings, descend, mean_log_probability, new_rbm

LEARNING_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
STEPS = {"PCD": (1, 3, 10), "CD-1": (1,), "naive MCMC": (10, 30, 100)}
_VALIDATION_SEEDS = 3
_VALIDATION_FRACTION = 0.2


@dataclass(frozen=True)
class Method:
    """A negative phase and its settings."""

    name: str
    make: Callable[[int], torch_ebm.NegativePhase]
    """From a seed."""
    learning_rate: float


def candidates(n_pixels: int, n_chains: int) -> dict[str, list[Method]]:
    """Every method with all settings to choose from."""

    def sampler(n_steps: int) -> torch_ebm.Sampler:
        return functools.partial(torch_ebm.gibbs, n_steps=n_steps)

    def make(group: str, n_steps: int, seed: int) -> torch_ebm.NegativePhase:
        if group == "CD-1":
            return torch_ebm.CD(sampler(n_steps), seed=seed)
        kind = {"PCD": torch_ebm.PCD, "naive MCMC": torch_ebm.NaiveMCMC}[group]
        return kind(n_chains, (n_pixels,), sampler(n_steps), seed=seed)

    return {
        group: [
            Method(f"{group}, {n} step{'s' * (n > 1)}", functools.partial(make, group, n), rate)
            for n in options
            for rate in LEARNING_RATES
        ]
        for group, options in STEPS.items()
    }


def train_for(
    seconds: float, digits: Digits, settings: Settings, method: Method, seed: int
) -> tuple[float, int]:
    """Trains for ``seconds`` of processor time, with a learning rate that falls to 0 over them.

    Processor time is disturbed less by other programs on the machine than wall-clock time.

    Returns:
        The exact mean log-probability of ``digits.test`` (-inf if training diverged), and the
        number of updates.
    """
    rbm = new_rbm(digits, settings.hidden, seed)
    optimizer = torch.optim.SGD(
        rbm.parameters(), lr=method.learning_rate, momentum=settings.momentum
    )
    negative_phase = method.make(seed)
    monitor = torch_ebm.TrainingMonitor()
    generator = torch.Generator().manual_seed(seed)
    updates = 0
    began = time.process_time()
    try:
        while True:
            order = torch.randperm(len(digits.train), generator=generator)
            for batch in order.split(settings.batch_size):
                left = 1 - (time.process_time() - began) / seconds
                if left <= 0:
                    log_z = rbm.log_z().detach()
                    return mean_log_probability(rbm, digits.test, log_z), updates
                optimizer.param_groups[0]["lr"] = method.learning_rate * left
                descend(rbm, optimizer, negative_phase, monitor, digits.train[batch])
                updates += 1
    except (RuntimeError, ValueError):  # the monitor or the sampler: the parameters diverged
        return -float("inf"), updates


def with_validation(digits: Digits) -> Digits:
    """The training data alone, with a part of it in place of the test data."""
    n = round(_VALIDATION_FRACTION * len(digits.train))
    return digits._replace(train=digits.train[n:], test=digits.train[:n])


def choose(
    methods: dict[str, list[Method]],
    validation: Digits,
    settings: Settings,
    seconds: float,
    bar: tqdm,
) -> dict[str, Method]:
    """The best settings of every method.

    The methods take turns, here and later, so that a busy period of the machine affects all of
    them.
    """
    best: dict[str, tuple[float, Method]] = {}
    everything = [(group, method) for group, options in methods.items() for method in options]
    for group, method in sorted(everything, key=lambda pair: pair[1].learning_rate):
        score = 0.0
        for seed in range(settings.seed, settings.seed + _VALIDATION_SEEDS):
            score += train_for(seconds, validation, settings, method, seed)[0] / _VALIDATION_SEEDS
            bar.update()
        if group not in best or score > best[group][0]:
            best[group] = score, method
    return {group: method for group, (_, method) in best.items()}


def _test_seeds(settings: Settings, n_seeds: int) -> range:
    first = settings.seed + _VALIDATION_SEEDS
    return range(first, first + n_seeds)


def run(digits: Digits, settings: Settings, seconds: float, n_seeds: int) -> None:
    """Prints a line for every method: test log-probability, mean and spread over seeds."""
    settings = replace(settings, weight_decay=0.0)
    methods = candidates(digits.train.size(1), settings.chains)
    n_runs = sum(len(options) * _VALIDATION_SEEDS + n_seeds for options in methods.values())
    print(
        f"Every run gets {seconds:g} s of processor time on {settings.threads} thread(s), batches"
        f" of {settings.batch_size}, {settings.chains} chains,\nmomentum {settings.momentum:g}, and"
        " a learning rate that falls linearly to 0. Its start and the number of steps were\nchosen"
        f" by the log-probability of {_VALIDATION_FRACTION:.0%} of the training images, held out"
        f" (mean of {_VALIDATION_SEEDS} runs),\namong rates {LEARNING_RATES} and steps {STEPS}."
        f"\nThen {n_seeds} runs with other seeds on all training images. Exact mean log-probability"
        " of the test images:"
    )
    with tqdm(total=n_runs, desc="comparing", unit="run", leave=False) as bar:
        best = choose(methods, with_validation(digits), settings, seconds, bar)
        results: dict[str, list[tuple[float, int]]] = {group: [] for group in methods}
        for seed in _test_seeds(settings, n_seeds):
            for group, method in best.items():
                results[group].append(train_for(seconds, digits, settings, method, seed))
                bar.update()
    print(f"  {'':<24} {'mean':>8} +- standard error")
    for group, method in best.items():
        tested = torch.tensor([value for value, _ in results[group]], dtype=torch.float64)
        updates = sum(n for _, n in results[group]) / n_seeds
        error = tested.std() / n_seeds**0.5
        print(
            f"  {method.name:<24} {tested.mean():8.3f} +- {error:.3f}"
            f"   learning rate {method.learning_rate:g}, {updates:.0f} updates"
        )
