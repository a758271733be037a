"""A page of what is known of log Z."""

import pytest

import torch_ebm
from known_values import random_rbm, seeded

pytest.importorskip("matplotlib")


def sandwiches(rbm):
    return [torch_ebm.sandwich(rbm, n_chains=20, betas=n, generator=seeded(n)) for n in (50, 5)]


def test_a_report_holds_numbers_warnings_and_pictures(tmp_path):
    rbm = random_rbm(16, 12, 2.0, seed=1)
    fast_and_slow = sandwiches(rbm)
    text = torch_ebm.log_z_report(
        tmp_path / "new" / "one", [50, 5], fast_and_slow, exact=rbm.log_z()
    )
    assert (tmp_path / "new" / "one" / "report.md").read_text() == text
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("| 5")]
    assert [row.split(" | ")[0] for row in rows] == ["| 5", "| 50"]  # sorted
    for row, found in zip(rows, reversed(fast_and_slow)):
        for e in found[:3]:
            assert f"| {e.log_z:.4f} [{e.lower:.4f}, {e.upper:.4f}] |" in row
        assert f"{found.forward.ess:.1f} of 20 | {found.reverse.ess:.1f} of 20 |" in row
    assert all(line.count("|") == 7 for line in lines if line.startswith("| "))
    assert f"Exact: {rbm.log_z():.4f}." in text
    assert f"- 5: lower bound: {fast_and_slow[1].forward.warning}" in text
    for name in ("sandwich", "stage_ess", "weights"):
        assert f"({name}.png)" in text
        assert (tmp_path / "new" / "one" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_well_known_needs_few_words(tmp_path):
    text = torch_ebm.log_z_report(tmp_path, [50, 5], sandwiches(random_rbm(6, 4, 0.1, seed=2)))
    assert "Exact" not in text and "- 5" not in text and "mixed" not in text


def test_samples_that_are_not_exact_are_said_to_be_so(tmp_path):
    found = [s._replace(exact_samples=False) for s in sandwiches(random_rbm(6, 4, 0.1, seed=2))]
    text = torch_ebm.log_z_report(tmp_path, [50, 5], found)
    assert "only as far as the chains have mixed" in text


def test_nothing_is_written_for_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="one positive number for each of the 2 sandwiches"):
        torch_ebm.log_z_report(tmp_path / "new", [50], sandwiches(random_rbm(6, 4, 0.1, seed=2)))
    assert not (tmp_path / "new").exists()
