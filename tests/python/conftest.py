import pytest
import torch

import statistical_checks


@pytest.fixture(autouse=True)
def fixed_seed_and_threads():
    """Every test starts from the same random state, on one thread: most work here is small, and
    test_gates.py checks that the number of threads changes nothing."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


def pytest_sessionfinish(session):
    made, allowed = statistical_checks.checks_made, statistical_checks.CHECKS_PER_RUN
    if made > allowed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{made} statistical checks were made: raise CHECKS_PER_RUN from {allowed}")
