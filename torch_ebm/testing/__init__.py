"""Tests of exactness for *your* energy and sampler: see :mod:`torch_ebm.testing.testing`."""

from .testing import (  # noqa: F401
    MIN_EXPECTED,
    Check,
    check_convergence,
    check_detailed_balance,
    check_gradient_vanishes,
    check_invariance,
    check_joint,
    check_keeps_law,
    check_swap_rule,
    check_transitions,
    chi_square_check,
    enumerate_states,
    exact_law,
    mean_check,
    transition_counts,
)
