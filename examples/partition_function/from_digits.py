"""What this example imports from the digits example."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "digits"))
from data import DataError, Digits, load  # noqa: E402
from report import FEW_CHAINS, independent_pixels, samples  # noqa: E402
from training import descend, mean_log_probability, new_rbm  # noqa: E402

__all__ = [
    "FEW_CHAINS",
    "DataError",
    "Digits",
    "descend",
    "independent_pixels",
    "load",
    "mean_log_probability",
    "new_rbm",
    "samples",
]
