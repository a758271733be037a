"""Memory over many calls of every sampler, criterion and negative phase.

    python tests/memory.py                          # 100,000 calls of each: some hours of one core
    python tests/memory.py --calls 1000 gibbs PCD   # of those whose names hold one of these words

A call that leaves something behind is found by three counts, after a warm-up and after the calls: the bytes that malloc
has given out (tensors, and what C++ keeps), the objects that Python's garbage collector follows, and resident memory.

* The first two are exact, and stay where they are, give or take a table that is enlarged or what malloc keeps at hand.
  So a hundred calls show what a call keeps, at least 16 bytes, the least that malloc gives, or one object: they do so
  every time that they are made.
* Resident memory counts pages. Memory that is freed serves the next call, but not always at the same place, so it is
  bounded by 16 MiB for all calls together: 170 bytes for each of the long run's, less than the smallest tensor takes.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "python"))

import torch_ebm  # noqa: E402
from criteria_table import CRITERIA, data  # noqa: E402
from known_values import random_rbm, seeded  # noqa: E402
from test_battery import CATEGORICAL, CONTINUOUS, DISCRETE, binary, gauss, potts  # noqa: E402
from test_distributed import PHASES as PERSISTENT  # noqa: E402

BYTES_PER_CALL = 16
RESIDENT = 16 << 20
WARM_UP = 20
ATTEMPTS = 4

BIASED = {
    "langevin": functools.partial(torch_ebm.langevin, step_size=0.1),
    "underdamped_langevin": functools.partial(torch_ebm.underdamped_langevin, step_size=0.1),
}
PHASES = {
    **PERSISTENT,
    "NaiveMCMC": lambda: torch_ebm.NaiveMCMC(8, (4,)),
    "CD": torch_ebm.CD,
    "UnbiasedCD": torch_ebm.UnbiasedCD,
}

#: What a call of it does, once it is made.
Make = Callable[[], Callable[[], object]]


def _sampler(sampler: Callable, energy: Callable, x: Callable) -> Make:
    def make() -> Callable[[], object]:
        model, start, generator = energy(), x(), seeded(1)
        return lambda: sampler(model, start, generator=generator)

    return make


def _criterion(row: object, options: dict) -> Make:
    def make() -> Callable[[], object]:
        energy, x = row.population.energy(), data(row)
        generator = {"generator": seeded(1)} if row.random else {}

        def call() -> None:
            energy.zero_grad()
            row.call(energy, x, **generator, **options).sum().backward()

        return call

    return make


def _phase(build: Callable) -> Make:
    def make() -> Callable[[], object]:
        rbm, phase, x = torch_ebm.RBM(4, 3), build(), torch.ones(8, 4)
        return lambda: phase(rbm, x)

    return make


def cases(all_variants: bool) -> dict[str, Make]:
    bits, line = torch.zeros(3, 4).double(), torch.zeros(3, 3).double()
    one_hot = torch.eye(3).double().expand(2, 3, 3)
    found = {}
    for name, kernel in DISCRETE.items():
        found[f"{name} of bits"] = _sampler(kernel.sampler, binary, bits.clone)
    for name, kernel in CATEGORICAL.items():
        found[f"{name} of categories"] = _sampler(kernel.sampler, potts, one_hot.clone)
    for name, kernel in CONTINUOUS.items():
        found[name] = _sampler(kernel.sampler, gauss, line.clone)
    for name, sampler in BIASED.items():
        found[name] = _sampler(sampler, gauss, line.clone)
    rbm = functools.partial(random_rbm, 4, 3, 1.0, seed=5)
    found["gibbs of an RBM"] = _sampler(torch_ebm.gibbs, rbm, bits.clone)
    for name, row in CRITERIA.items():
        for options in row.variants if all_variants else row.variants[:1]:
            found[f"{name} {options or ''}".strip()] = _criterion(row, options)
    for name, build in PHASES.items():
        found[name] = _phase(build)
    return found


class _MallInfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    ]


def _given_out() -> int:
    """Bytes that malloc has given out, in blocks and in mappings; 0 where it does not say."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return 0
    mallinfo.restype = _MallInfo
    info = mallinfo()
    return info.uordblks + info.hblkhd


def _resident() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * resource.getpagesize()


def growth(make: Make, n_calls: int) -> dict[str, int]:
    """By how much the three counts grew from the end of the warm-up over ``n_calls`` calls."""
    call = make()

    def counts() -> tuple[int, int, int]:
        gc.collect()
        return _given_out(), len(gc.get_objects()), _resident()

    gc.freeze()  # what is there already need not be looked through
    for _ in range(WARM_UP):
        call()
    before = counts()
    for _ in range(n_calls):
        call()
    after = counts()
    gc.unfreeze()
    return dict(zip(("bytes", "objects", "resident"), (b - a for a, b in zip(before, after))))


def leaks(make: Make, n_calls: int) -> str:
    """What is wrong; empty if nothing is. What grows once and not again is no leak."""
    bounds = {
        "bytes": BYTES_PER_CALL * n_calls,
        "objects": n_calls,
        "resident": RESIDENT,
    }
    for _ in range(ATTEMPTS):
        grown = growth(make, n_calls)
        wrong = [f"{grown[k]} {k} (bound {bounds[k]})" for k in grown if grown[k] >= bounds[k]]
        if not wrong:
            return ""
    return f"{n_calls} calls left {', '.join(wrong)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="words of the names of what to call; default: all")
    parser.add_argument("--calls", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    for name, make in cases(all_variants=True).items():
        if options.names and not any(word in name for word in options.names):
            continue
        wrong = leaks(make, options.calls)
        failed += bool(wrong)
        print(f"{name}: {wrong or 'flat'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
