"""Times the workloads of the *rows.py files, each with several contenders, and prints a table.

Timings on a shared machine drift, so nothing here compares two runs. A round times every contender
of a row once, in an order that rotates from round to round. The report gives the median over the
rounds of each contender's time divided by ours *in the same round*, with the quartiles. Every
contender's result is checked before anything is timed.

    bash benchmarks/run.sh [row ...]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from row import Row

#: Whose versions the table names.
PACKAGES = (
    *("torch", "numpy", "jax", "jaxlib", "scikit-learn", "rbms"),
    *("torchebm", "ebmkit", "blackjax", "numpyro", "pymbar"),
)


@dataclass
class Measurement:
    """The results of all rounds for one contender; times in seconds per unit."""

    name: str
    times: list[float]
    ratios: list[float]
    absent: Optional[str] = None
    target: Optional[float] = None

    def summary(self) -> dict[str, Any]:
        if self.absent:
            return {"name": self.name, "absent": self.absent}
        return {
            "name": self.name,
            "seconds": statistics.median(self.times),
            "seconds_quartiles": quartiles(self.times),
            "ratio": statistics.median(self.ratios),
            "ratio_quartiles": quartiles(self.ratios),
            "seconds_fastest": min(self.times),
            "target": self.target,
        }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def seconds_of(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(row: Row, rounds: Optional[int] = None) -> list[Measurement]:
    """Builds, checks and times the contenders of ``row``."""
    calls: dict[str, Callable[[], Any]] = {}
    absent: dict[str, str] = {}
    for contender in row.contenders:
        try:
            calls[contender.name] = contender.build()
        except ImportError as error:
            absent[contender.name] = f"not installed ({error})"

    ours = row.contenders[0].name
    reference = calls[ours]()  # also warms up and compiles
    for contender in row.contenders[1:]:
        if contender.name in calls:
            result = calls[contender.name]()
            if not contender.is_limit:
                row.check(reference, result)

    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds or row.rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            times[name].append(seconds_of(calls[name]) / row.units_per_call)

    return [
        (
            Measurement(c.name, [], [], absent=absent[c.name])
            if c.name in absent
            else Measurement(
                c.name,
                times[c.name],
                [theirs / own for theirs, own in zip(times[c.name], times[ours])],
                target=row.targets.get(c.name),
            )
        )
        for c in row.contenders
    ]


def table(row: Row, measurements: Sequence[Measurement]) -> str:
    """The table in Markdown. The quartiles of the times show how noisy the machine was; the fastest
    rounds show the undisturbed machine."""
    lines = [
        f"### {row.name}: {row.title}",
        "",
        f"| contender | us / {row.unit} | quartiles | time / ours | quartiles | fastest / our fastest"
        " | promised |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for m in measurements:
        if m.absent:
            lines.append(f"| {m.name} | {m.absent} | | | | | |")
            continue
        low, high = quartiles(m.times)
        ratio_low, ratio_high = quartiles(m.ratios)
        lines.append(
            f"| {m.name} | {1e6 * statistics.median(m.times):.4g}"
            f" | {1e6 * low:.4g} to {1e6 * high:.4g}"
            f" | {statistics.median(m.ratios):.2f} | {ratio_low:.2f} to {ratio_high:.2f}"
            f" | {min(m.times) / min(measurements[0].times):.2f}"
            f" | {'' if m.target is None else f'>= {m.target:g}'} |"
        )
    return "\n".join(lines) + "\n"


def environment(threads: int) -> dict[str, str]:
    """What the numbers depend on."""
    import torch

    import torch_ebm

    versions = {"torch_ebm": torch_ebm.__version__}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": processor(),
        "threads": f"{threads} for every contender (the process may use {threads} processors)",
        "load": "{:.1f} {:.1f} {:.1f} (1, 5, 15 minutes)".format(*os.getloadavg()),
        "kernels": torch_ebm.cpu_kernels(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "torch_threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def use_threads(threads: int) -> None:
    """Limits all contenders alike. Thread pools read this when they start: call before imports.

    Waiting threads sleep instead of spinning. On a shared machine, a spinning thread keeps the
    processor from the thread that it waits for, and products take three times as long as on one
    thread. OMP_WAIT_POLICY=active in the environment overrides this.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main(arguments: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", help="default: all")
    parser.add_argument("--rounds", type=int, help="default: each row's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args(arguments)

    use_threads(options.threads)
    import annealing_rows  # imported here because they import torch
    import criteria_rows
    import langevin_rows
    import partition_rows
    import rows
    import sampler_rows

    every_row = {
        **rows.ROWS,
        **langevin_rows.ROWS,
        **sampler_rows.ROWS,
        **criteria_rows.ROWS,
        **partition_rows.ROWS,
        **annealing_rows.ROWS,
    }
    unknown = set(options.rows) - set(every_row)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(every_row)}")
    facts = environment(options.threads)
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n", flush=True)
    results = {}
    for name in options.rows or every_row:
        row = every_row[name]()
        measurements = measure(row, options.rounds)
        print(table(row, measurements), flush=True)
        results[name] = [m.summary() for m in measurements]
    if options.json:
        content = {"environment": facts, "rows": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
