import pytest
import torch

import statistical_checks


@pytest.fixture(autouse=True)
def fixed_seed_and_threads():
    """Every test starts from the same random state and leaves the number of threads alone."""
    n_threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(n_threads)


def pytest_sessionfinish(session):
    made, allowed = statistical_checks.checks_made, statistical_checks.CHECKS_PER_RUN
    if made > allowed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{made} statistical checks were made: raise CHECKS_PER_RUN from {allowed}")
