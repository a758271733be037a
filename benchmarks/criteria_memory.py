"""Peak memory of the exact pseudolikelihood of an RBM 784x500 and its gradient.

python benchmarks/criteria_memory.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

CONTENDERS = {"ours": 0, "broadcast": 1}
SIZES = (16, 64, 256)


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def grown_by(contender: str, n: int) -> float:
    import criteria_rows

    call = criteria_rows.of_rbm("pseudolikelihood", n=n).contenders[CONTENDERS[contender]].build()
    criteria_rows.of_rbm("pseudolikelihood", n=2).contenders[CONTENDERS[contender]].build()()
    before = peak()
    call()
    return peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one:
        print(grown_by(one[0], int(one[1])))
        return
    print("| examples | " + " | ".join(f"{c}, MiB" for c in CONTENDERS) + " |")
    print("| ---: | ---: | ---: |")
    for n in SIZES:
        cells = [
            float(subprocess.check_output([sys.executable, __file__, "--one", c, str(n)]))
            for c in CONTENDERS
        ]
        print(f"| {n} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
