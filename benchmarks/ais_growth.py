"""Time and memory of annealing, as the numbers of temperatures and chains grow.

For an RBM by its operator, and for any energy by `anneal`. Memory is the growth of the process's
peak.

    python benchmarks/ais_growth.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from annealing_rows import rbm
from criteria_memory import peak

import torch_ebm

N_UNITS = 64
TEMPERATURES = (100, 1000, 10000)
CHAINS = (100, 1000, 10000)
#: More chains times temperatures than this would take too long.
MOST = 10**7


def run_rbm(n_temperatures: int, n_chains: int) -> Any:
    return torch_ebm.ais(rbm(N_UNITS, 16), n_chains=n_chains, betas=n_temperatures)


def run_any_energy(n_temperatures: int, n_chains: int) -> Any:
    normal = torch.distributions.Normal(torch.zeros(N_UNITS), 1.0)
    return torch_ebm.ais(
        lambda x: 2 * x.square().sum(1),
        torch.distributions.Independent(normal, 1, validate_args=False),
        partial(torch_ebm.mala, step_size=0.1),
        n_chains=n_chains,
        betas=n_temperatures,
    )


RUNS: dict[str, Callable[[int, int], Any]] = {
    "RBM 64x16": run_rbm,
    "MALA, 64 units": run_any_energy,
}


def measure(name: str, n_temperatures: int, n_chains: int) -> tuple[float, float]:
    """Nanoseconds of processor time for each chain and temperature, and MiB."""
    run = RUNS[name]
    run(2, 2)
    before, begin = peak(), time.process_time()
    run(n_temperatures, n_chains)
    seconds = time.process_time() - begin
    return 1e9 * seconds / (n_temperatures * n_chains), peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    torch.set_num_threads(1)
    if one:
        print(*measure(one[0], int(one[1]), int(one[2])))
        return
    print("| run | temperatures | chains | ns / (chain x temperature) | grown by, MiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in RUNS:
        for n_temperatures in TEMPERATURES:
            for n_chains in CHAINS:
                if n_temperatures * n_chains > MOST:
                    continue
                arguments = ["--one", name, str(n_temperatures), str(n_chains)]
                output = subprocess.check_output([sys.executable, __file__, *arguments])
                cost, grown = map(float, output.split())
                print(
                    f"| {name} | {n_temperatures} | {n_chains} | {cost:.0f} | {grown:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
