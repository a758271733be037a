import pytest
import torch

import statistical_checks


@pytest.fixture(autouse=True)
def fixed_seed_and_threads():
    """Every test starts from the same random state, on one thread: most work here is small, and
    test_gates.py checks that the number of threads changes nothing."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """A process of pytest-xdist has finished: its statistical checks are this run's."""
    statistical_checks.checks_made += getattr(node, "workeroutput", {}).get("checks_made", 0)


def pytest_sessionfinish(session):
    made, allowed = statistical_checks.checks_made, statistical_checks.CHECKS_PER_RUN
    if hasattr(session.config, "workeroutput"):  # in a process of pytest-xdist
        session.config.workeroutput["checks_made"] = made
    elif made > allowed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{made} statistical checks were made: raise CHECKS_PER_RUN from {allowed}")
