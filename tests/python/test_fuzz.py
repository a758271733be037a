"""The short run of tests/fuzz. A long one: python tests/fuzz/fuzz.py --calls 100000"""

import os
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[1] / "fuzz" / "fuzz.py"


def test_a_thousand_calls_neither_crash_nor_hang_nor_change_an_argument():
    done = subprocess.run(
        [sys.executable, FUZZ, "--seed", "1", "--calls", "1500", "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
