"""Memory stays flat: the short form of tests/memory.py, which says what is counted."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import memory  # noqa: E402

CASES = memory.cases(all_variants=False)
CALLS = 100
KEPT = []


@pytest.mark.parametrize("name", CASES)
def test_no_call_leaves_anything_behind(name):
    assert not memory.leaks(CASES[name], CALLS)


@pytest.mark.parametrize(
    "keep, found",
    [(lambda: KEPT.append(torch.zeros(1)), "bytes"), (lambda: KEPT.append([]), "objects")],
    ids=["a tensor", "a list"],
)
def test_what_a_call_leaves_behind_is_found(keep, found):
    assert found in memory.leaks(lambda: keep, CALLS)
    KEPT.clear()
