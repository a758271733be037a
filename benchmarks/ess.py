"""Effective samples per second of HMC and NUTS: the smallest bulk ESS over the coordinates (Vehtari
et al. 2021, as computed by ArviZ, for all contenders) divided by the time of sampling.

As in harness.py, every round times each contender once, in a rotated order, and a ratio is within
one round. In every round, each contender's means and variances are checked against the exact ones.

    python benchmarks/ess.py [target ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import environment, quartiles, use_threads  # noqa: E402

if TYPE_CHECKING:
    from ess_contenders import Contender
    from ess_targets import Target
    from torch import Tensor

SAMPLERS = ("nuts", "hmc")
#: Largest error of a mean or variance, in Monte Carlo standard errors.
TOLERANCE = 6.0


@dataclass
class Result:
    """Results of one contender; one number per round."""

    contender: Contender
    preparation: float
    seconds: list[float] = field(default_factory=list)
    ess: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [ess / seconds for ess, seconds in zip(self.ess, self.seconds)]

    @property
    def rates_with_preparation(self) -> list[float]:
        return [e / (s + self.preparation) for e, s in zip(self.ess, self.seconds)]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def ess(draws: Tensor, method: str) -> Tensor:
    """(dimension,) of draws (n_draws, n_chains, dimension)."""
    import torch
    from arviz_stats.base import array_stats

    values = draws.double().numpy().transpose(2, 1, 0)
    return torch.tensor(array_stats.ess(values, chain_axis=1, draw_axis=2, method=method))


def check(name: str, draws: Tensor, target: Target) -> None:
    """Raises unless means and variances are exact within Monte Carlo error."""
    x = draws.double()
    deviation2 = (x - target.mean) ** 2
    moments = ("mean", x, target.mean), ("variance", deviation2, target.variance)
    for what, values, truth in moments:
        error = values.std((0, 1)) / ess(values, "mean").sqrt()
        z = ((values.mean((0, 1)) - truth) / error).abs().max().item()
        assert z < TOLERANCE, f"{name}, {target.name}: a {what} is {z:.1f} standard errors off"


def measure(contenders: Sequence[Contender], rounds: int) -> tuple[list[Result], list[str]]:
    """The results, and the names of contenders that are not installed."""
    results, absent = [], []
    for contender in contenders:
        try:
            results.append(Result(contender, timed(contender.prepare)[1]))
        except ImportError:
            absent.append(contender.name)
    for turn in range(rounds):
        start = turn % len(results)
        for r in results[start:] + results[:start]:
            drawn, seconds = timed(lambda: r.contender.sample(turn + 1))
            draws = r.contender.as_draws(drawn)
            check(r.contender.name, draws, r.contender.target)
            r.seconds.append(seconds)
            r.ess.append(ess(draws, "bulk").min().item())
    return results, absent


def table(results: Sequence[Result], absent: Sequence[str]) -> str:
    lines = [
        "| contender | seconds | least bulk ESS | ESS / s | ours / theirs | quartiles"
        " | compilation and warm-up, s | ESS / s with it |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        ratios = [ours / theirs for ours, theirs in zip(results[0].rates, r.rates)]
        low, high = quartiles(ratios)
        lines.append(
            f"| {r.contender.name} | {statistics.median(r.seconds):.3g}"
            f" | {statistics.median(r.ess):.0f} | {statistics.median(r.rates):.4g}"
            f" | {statistics.median(ratios):.2f} | {low:.2f} to {high:.2f} | {r.preparation:.3g}"
            f" | {statistics.median(r.rates_with_preparation):.4g} |"
        )
    return "\n".join([*lines, *(f"| {name} | not installed | | | | | | |" for name in absent)])


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--warm-up", type=int, default=500)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--leapfrog", type=int, default=10, help="of HMC")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    use_threads(options.threads)
    from ess_contenders import CONTENDERS, Work  # imported here because they import torch
    from ess_targets import TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    work = Work(options.chains, options.warm_up, options.draws, options.leapfrog)
    facts = environment(options.threads)
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    for name in options.targets or TARGETS:
        target = TARGETS[name]()
        for sampler in SAMPLERS:
            how = f" with {work.n_leapfrog} leapfrog steps" if sampler == "hmc" else ""
            print(
                f"\n### {target.name}: {sampler.upper()}{how}, {work.n_chains} chains,"
                f" {work.n_warm_up} adaptation steps, {work.n_draws} draws each\n"
            )
            contenders = [contender(target, sampler, work) for contender in CONTENDERS]
            print(table(*measure(contenders, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
