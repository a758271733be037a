"""Runs every sampler, model and criterion on a device, and compares with the CPU's numbers from
the same seed:

    python tests/devices.py cuda

Prints a line each, and fails if one raises, or if more than a small part of its numbers differ.
The random numbers are the same on every device; what differs is rounding, and a chain goes its own
way once a decision falls between two roundings. On "cpu" the passes take torch's form, which is
what they take on any other device.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))

from pass_runs import RUNS  # noqa: E402

BOUND = {torch.float32: 1e-2, torch.float64: 1e-8}  # of numbers that count as equal
LEAST_EQUAL = {torch.float32: 0.95, torch.float64: 0.99}  # share of the rows
MEANS = {torch.float32: 1e-2, torch.float64: 1e-3}  # of all numbers, in standard deviations


def compare(name, dtype, device):
    """The share of rows that are equal, and how far the means are apart; raises if too far."""
    expected = RUNS[name](dtype, "cpu").double()
    before = torch.ops.torch_ebm._use_torch_passes(device == "cpu")
    started = time.perf_counter()
    try:
        result = RUNS[name](dtype, device)
    finally:
        torch.ops.torch_ebm._use_torch_passes(before)
    assert result.device.type == torch.device(device).type, f"the result is on {result.device}"
    result = result.cpu().double()
    seconds = time.perf_counter() - started
    assert result.shape == expected.shape, f"shape {result.shape}, not {expected.shape}"
    close = torch.isclose(result, expected, rtol=BOUND[dtype], atol=BOUND[dtype])
    equal = close.all(-1).double().mean().item()
    spread = expected.std().clamp_min(1e-6).item()
    shift = (result.mean() - expected.mean()).abs().item() / spread
    assert equal >= LEAST_EQUAL[dtype], f"only {equal:.1%} of the rows are equal"
    assert shift <= MEANS[dtype], f"the means differ by {shift:.2g} standard deviations"
    return equal, shift, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device")
    parser.add_argument("--only", default="", help="runs whose names hold this")
    parser.add_argument("--trace", action="store_true", help="print tracebacks")
    options = parser.parse_args()
    dtypes = [torch.float32] if options.device == "mps" else [torch.float32, torch.float64]
    failed = 0
    for name in RUNS:
        if options.only not in name:
            continue
        for dtype in dtypes:
            label = f"{name:40} {str(dtype).removeprefix('torch.'):8}"
            try:
                equal, shift, seconds = compare(name, dtype, options.device)
                print(f"{label} {equal:7.2%} of rows equal, means {shift:.1e}, {seconds:.3f} s")
            except Exception as error:
                failed += 1
                print(f"{label} FAILED: {type(error).__name__}: {str(error).splitlines()[0]}")
                if options.trace:
                    traceback.print_exc()
    print(f"{failed} failed" if failed else "all passed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
