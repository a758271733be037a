"""What chains tell of themselves: R-hat, effective sample sizes, autocorrelation."""

from .diagnostics import (  # noqa: F401
    MAX_R_HAT,
    MIN_ESS_PER_CHAIN,
    Summary,
    autocorrelation,
    autocorrelation_time,
    ess_bulk,
    ess_mean,
    ess_tail,
    mcse_mean,
    r_hat,
    round_trips,
    summary,
)
